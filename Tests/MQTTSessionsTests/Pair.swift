import MQTTPackets
import MQTTSessions
import NIOCore

/// One direction of a connection: bytes arrive in order, in pieces of any size, at times of any distance.
struct VirtualLink {
    private var pieces: [(due: Int64, bytes: ByteBuffer)] = []

    var nextDue: Int64? { pieces.first?.due }

    mutating func send(_ bytes: ByteBuffer, at now: Int64, _ generator: inout SeededGenerator) {
        var rest = bytes
        var due = max(now, pieces.last?.due ?? 0)
        while rest.readableBytes > 0 {
            let most = Bool.random(using: &generator) ? 3 : rest.readableBytes
            let count = Int.random(in: 1...min(most, rest.readableBytes), using: &generator)
            due += Int64.random(in: 0...20, using: &generator)
            guard let piece = rest.readSlice(length: count) else { return }
            pieces.append((due, piece))
        }
    }

    mutating func take() -> ByteBuffer { pieces.removeFirst().bytes }

    /// What has not arrived never does.
    mutating func cut() { pieces = [] }
}

/// The broker's end: `BrokerSession` and the few lines that act on its verdicts.
struct BrokerEnd {
    var session = BrokerSession(clientID: "pair", incarnation: 1, expiryInterval: .max)
    var output = ByteBuffer()
    var isConnected = false
    var committed: UInt64 = 0
    private(set) var ticket: UInt64 = 0
    /// What was routed, by connection.
    private(set) var routed: [[Publish]] = []
    private var wasConnected = false
    private var quota = 65_535
    /// Answers that wait for a commit; they die with the connection.
    private var waiting: [(ticket: UInt64, packet: Packet)] = []
    private let version: ProtocolVersion
    private let receiveMaximum: Int?

    init(version: ProtocolVersion, receiveMaximum: Int?) {
        self.version = version
        self.receiveMaximum = receiveMaximum
    }

    mutating func publish(_ publish: Publish) {
        guard publish.qos != .atMostOnce else {
            if isConnected { send(.publish(publish)) }
            return
        }
        ticket += 1
        session.outbound.append(
            Message(publish),
            qos: publish.qos,
            isRetained: false,
            ticket: publish.qos == .exactlyOnce ? ticket : 0
        )
        pump()
    }

    mutating func commit() {
        committed = ticket
        while let first = waiting.first, first.ticket <= committed {
            send(waiting.removeFirst().packet)
            if first.packet.kind == .puback { session.inbound.acknowledged() }
        }
        pump()
    }

    mutating func connectionEnded() {
        isConnected = false
        waiting = []
        output = ByteBuffer()
        session.connectionEnded()
    }

    mutating func received(_ packet: Packet) throws {
        switch packet {
        case .connect(let connect): connectReceived(connect)
        case .publish(let publish): try publishReceived(publish)
        case .puback(let answer): _ = session.pubackReceived(answer.packetID)
        case .pubrec(let answer):
            if case .release = session.pubrecReceived(answer.packetID, isError: answer.reasonCode.isError) {
                send(.pubrel(Acknowledgement(packetID: answer.packetID)))
            }
        case .pubrel(let answer):
            _ = session.pubrelReceived(answer.packetID)
            sendAfterCommit(.pubcomp(Acknowledgement(packetID: answer.packetID)))
        case .pubcomp(let answer): _ = session.pubcompReceived(answer.packetID)
        case .subscribe(let subscribe):
            sendAfterCommit(.suback(Suback(packetID: subscribe.packetID, reasonCodes: [.success])))
        default: throw DecodingError.protocolError("\(packet.kind)")
        }
        pump()
    }

    private mutating func connectReceived(_ connect: Connect) {
        var properties = Properties()
        if version == .v5 { properties[integer: .receiveMaximum] = receiveMaximum.map(UInt32.init) }
        send(.connack(Connack(sessionPresent: wasConnected, reasonCode: .success, properties: properties)))
        quota = Int(connect.properties[integer: .receiveMaximum] ?? 65_535)
        session.connectionBegan()
        wasConnected = true
        isConnected = true
        routed.append([])
    }

    private mutating func publishReceived(_ publish: Publish) throws {
        let id = publish.packetID ?? 0
        switch session.publishReceived(qos: publish.qos, packetID: id, receiveMaximum: receiveMaximum) {
        case .route: route(publish)
        case .routeThenAcknowledge:
            route(publish)
            sendAfterCommit(.puback(Acknowledgement(packetID: id)))
        case .routeThenReceive:
            route(publish)
            sendAfterCommit(.pubrec(Acknowledgement(packetID: id)))
        case .receiveAgain: sendAfterCommit(.pubrec(Acknowledgement(packetID: id)))
        case .disconnect(let reason): throw DecodingError(reason, "a client that keeps the rules")
        }
    }

    private mutating func route(_ publish: Publish) {
        ticket += 1
        routed[routed.count - 1].append(publish)
    }

    private mutating func sendAfterCommit(_ packet: Packet) {
        guard ticket > committed || !waiting.isEmpty else {
            if packet.kind == .puback { session.inbound.acknowledged() }
            return send(packet)
        }
        waiting.append((ticket, packet))
    }

    private mutating func send(_ packet: Packet) { PacketEncoder(version: version).encode(packet, into: &output) }

    private mutating func pump() {
        guard isConnected else { return }
        while true {
            switch session.outbound.nextStep(quota: quota, committed: committed) {
            case .nothing, .mark: return
            case .release(let number):
                send(.pubrel(Acknowledgement(packetID: OutboundQueue.packetID(number))))
                session.outbound.released()
            case .publish(let number):
                guard let message = session.outbound[number].message else { return }
                var publish = Publish(message)
                publish.isDuplicate = session.outbound[number].isBegun
                publish.packetID = OutboundQueue.packetID(number)
                send(.publish(publish))
                session.outbound.published()
            }
        }
    }
}

/// A client machine and a broker machine, a virtual link between them that is cut at any byte, and a virtual clock.
struct Pair {
    var client: ClientSession
    var broker: BrokerEnd
    /// What the application was given, by connection.
    private(set) var messages: [[Publish]] = []
    /// Numbers of publishes that the client was told are done, in that order.
    private(set) var published: [UInt64] = []
    private(set) var subscribed: [UInt16] = []
    private(set) var now: Int64 = 0
    private(set) var isUp = false
    private let version: ProtocolVersion
    private var toBroker = VirtualLink()
    private var toClient = VirtualLink()
    private var atBroker = ByteBuffer()
    private var atClient = ByteBuffer()
    private var brokerDecoder = PacketDecoder(version: nil)
    private var clientDecoder: PacketDecoder
    private var commitDue: Int64?

    /// Messages that the application has not taken yet, where it takes its time.
    private var untaken: [Receipt] = []
    private let takesItsTime: Bool

    init(_ version: ProtocolVersion, _ generator: inout SeededGenerator) {
        self.version = version
        takesItsTime = Bool.random(using: &generator)
        var connect = Connect(version: version, clientID: "pair", cleanStart: false)
        if version == .v5 {
            connect.properties[integer: .sessionExpiryInterval] = .max
            connect.properties[integer: .receiveMaximum] = UInt32.random(in: 1...10, using: &generator)
        }
        client = ClientSession(connect: connect, acknowledging: takesItsTime ? .whenTold : .atOnce)
        clientDecoder = PacketDecoder(version: version)
        broker = BrokerEnd(
            version: version,
            receiveMaximum: version == .v5 ? Int.random(in: 1...10, using: &generator) : nil
        )
    }

    /// The time at which something happens by itself; nil when all is at rest.
    var nextDue: Int64? { [toBroker.nextDue, toClient.nextDue, commitDue].compactMap(\.self).min() }

    mutating func connect(at time: Int64, _ generator: inout SeededGenerator) {
        now = time
        guard !isUp else { return }
        isUp = true
        messages.append([])
        client.connectionBegan()
        flush(&generator)
    }

    mutating func cut(at time: Int64) {
        now = time
        guard isUp else { return }
        isUp = false
        toBroker.cut()
        toClient.cut()
        atBroker = ByteBuffer()
        atClient = ByteBuffer()
        brokerDecoder = PacketDecoder(version: nil)
        broker.connectionEnded()
    }

    mutating func act(at time: Int64, _ generator: inout SeededGenerator, _ body: (inout Pair) -> Void) {
        now = time
        body(&self)
        flush(&generator)
    }

    /// Lets happen what is due next.
    mutating func step(_ generator: inout SeededGenerator) throws {
        guard let due = nextDue else { return }
        now = max(now, due)
        if commitDue == due {
            commitDue = nil
            broker.commit()
        } else if toBroker.nextDue == due {
            atBroker.writeImmutableBuffer(toBroker.take())
            while let packet = try brokerDecoder.next(&atBroker) { try broker.received(packet) }
        } else {
            atClient.writeImmutableBuffer(toClient.take())
            while let packet = try clientDecoder.next(&atClient) { try received(packet) }
        }
        flush(&generator)
    }

    /// The application takes some of what has come, in any order; false where there is nothing.
    mutating func take(at time: Int64, all: Bool, _ generator: inout SeededGenerator) -> Bool {
        guard !untaken.isEmpty else { return false }
        now = max(now, time)
        untaken.shuffle(using: &generator)
        let count = all ? untaken.count : Int.random(in: 1...untaken.count, using: &generator)
        for receipt in untaken.suffix(count) { client.acknowledge(receipt) }
        untaken.removeLast(count)
        flush(&generator)
        return true
    }

    private mutating func received(_ packet: Packet) throws {
        if takesItsTime, case .publish(let publish) = packet {
            let arrival = try client.publishArrived(qos: publish.qos, packetID: publish.packetID ?? 0)
            guard case .deliver(let receipt) = arrival else { return }
            messages[messages.count - 1].append(publish)
            if let receipt { untaken.append(receipt) }
            return
        }
        switch try client.received(packet) {
        case .message(let message): messages[messages.count - 1].append(message)
        case .published(let number, _): published.append(number)
        case .subscribed(let suback): subscribed.append(suback.packetID)
        default: break
        }
    }

    private mutating func flush(_ generator: inout SeededGenerator) {
        if isUp {
            toBroker.send(client.output, at: now, &generator)
            toClient.send(broker.output, at: now, &generator)
        }
        client.output = ByteBuffer()
        broker.output = ByteBuffer()
        if commitDue == nil && broker.ticket > broker.committed {
            commitDue = now + Int64.random(in: 0...100, using: &generator)
        }
    }
}
