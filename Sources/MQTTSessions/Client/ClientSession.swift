import MQTTPackets
import NIOCore

/// The client's end of a session: handshakes of both directions, and what is sent again on a new connection.
///
/// Packets come in through `received(_:)`; bytes to send gather in `output`, whatever else happened in the returned
/// value. Like the broker's end it knows no socket, clock or task: who has deadlines in it sets `now`.
package struct ClientSession: Sendable {
    /// What a packet meant for the application.
    package enum Event: Sendable, Equatable {
        case connected(Connack)
        case message(Publish)
        /// The publish with this number has reached the guarantee of its QoS, or was refused with an error.
        case published(UInt64, ReasonCode)
        case subscribed(Suback)
        case unsubscribed(Unsuback)
        case pong
        case disconnected(Disconnect)
        case authentication(Auth)
    }

    /// How far the connection is.
    package enum Phase: Sendable {
        case offline
        /// CONNECT was sent.
        case connecting
        case connected
    }

    /// What happens to what comes at QoS 1 and 2.
    package enum Acknowledging: Sendable {
        /// It is acknowledged as it comes.
        case atOnce
        /// `acknowledge` says when.
        case whenTold
    }

    /// Sent with the next connection.
    package var connect: Connect
    /// Bytes to send, in order.
    package var output = ByteBuffer()
    package var outbound = OutboundQueue()
    /// Publishes that ended without a packet that says so.
    package var ended: [Ended] = []
    /// Milliseconds of a monotonic clock, by which messages expire.
    package var now: Int64 = 0
    /// Aliases that this end gives to topics by itself, at most; 0 is none.
    package var automaticAliasesMax = 0
    /// What is to outlive the program; nil keeps nothing.
    var keeping: SessionKeeping?
    /// Of messages that were queued since changes were taken last.
    package internal(set) var uncommittedBytes = 0
    /// Whether what comes has to wait for `committed`.
    package internal(set) var isHeld = false
    /// Messages that may be in flight, where that is less than the broker takes.
    package var inFlightMax = 65_535
    package private(set) var phase = Phase.offline
    package internal(set) var clientID: String
    /// What the broker has said that it takes.
    package private(set) var limits = ServerLimits()
    var inbound = ReceiveWindow()
    var arrivals = Arrivals()
    var outboundAliases = RecentAliases(maximum: 0)
    let encoder: PacketEncoder
    let acknowledging: Acknowledging
    private var aliases: [UInt16: String] = [:]
    private var nextRequestID: UInt16 = 0x7FFF
    /// Identifiers of SUBSCRIBE and UNSUBSCRIBE packets that have no answer yet.
    private(set) var requests = PacketIDSet()
    private var startedClean = true

    package init(connect: Connect, acknowledging: Acknowledging = .atOnce) {
        self.connect = connect
        self.acknowledging = acknowledging
        clientID = connect.clientID
        encoder = PacketEncoder(version: connect.version)
    }

    package var version: ProtocolVersion { connect.version }
    package var isConnected: Bool { phase == .connected }

    /// A transport is there: CONNECT is the first packet on it [MQTT-3.1.0-1].
    package mutating func connectionBegan(cleanStart: Bool? = nil) {
        connectionEnded()
        aliases = [:]
        requests = PacketIDSet()
        inbound.connectionBegan()
        limits = ServerLimits()
        var packet = connect
        packet.cleanStart = cleanStart ?? connect.cleanStart
        packet.clientID = clientID
        startedClean = packet.cleanStart
        if startedClean { forget() }  // [MQTT-3.1.2-4], whether CONNACK comes through or not
        phase = .connecting
        send(.connect(packet))
    }

    /// The transport is gone: what was not sent is not, and what was in flight is sent again on the next.
    package mutating func connectionEnded() {
        output = ByteBuffer()
        phase = .offline
        arrivals.connectionEnded()
        outbound.connectionEnded()
        keeping?.connectionEnded()
    }

    /// The identifier of the request; nil where so many are under way that there is none left.
    package mutating func subscribe(_ filters: [Subscribe.Filter], properties: Properties = Properties()) -> UInt16? {
        guard let id = requestID() else { return nil }
        send(.subscribe(Subscribe(packetID: id, filters: filters, properties: properties)))
        return id
    }

    /// The identifier of the request; nil where so many are under way that there is none left.
    package mutating func unsubscribe(_ filters: [String], properties: Properties = Properties()) -> UInt16? {
        guard let id = requestID() else { return nil }
        send(.unsubscribe(Unsubscribe(packetID: id, filters: filters, properties: properties)))
        return id
    }

    package mutating func ping() { send(.pingreq) }

    package mutating func authenticate(_ reasonCode: ReasonCode, properties: Properties) {
        send(.auth(Auth(reasonCode: reasonCode, properties: properties)))
    }

    package mutating func disconnect(_ reasonCode: ReasonCode = .success, properties: Properties = Properties()) {
        send(.disconnect(Disconnect(reasonCode: reasonCode, properties: properties)))
        phase = .offline
    }

    /// One end has lost the session. A QoS 2 message that the broker has received is over: no PUBCOMP will come.
    private mutating func forget() {
        keepForgotten(inbound.unreleased)
        inbound = ReceiveWindow()
        arrivals.sessionForgotten()
        for number in outbound.numbers(where: { $0.state == .released }) {
            ended.append(Ended(number: number, outcome: .received))
            keeping?.add(.finished(incarnation: SessionKeeping.incarnation, number: number))
        }
        outbound.sessionForgotten()
    }

    /// [MQTT-3.2.2-15]: the broker would not take the packet.
    package mutating func isTooLarge(_ packet: Packet) -> Bool {
        limits.packetBytesMax < ServerLimits().packetBytesMax
            && encoder.encode(packet).readableBytes > limits.packetBytesMax
    }

    mutating func send(_ packet: Packet) { encoder.encode(packet, into: &output) }

    /// Identifiers of requests come from the upper half. Messages come there late, and wait for one that is in use
    /// [MQTT-2.2.1-3].
    private mutating func requestID() -> UInt16? {
        for _ in 0x8000...0xFFFF {
            nextRequestID = nextRequestID == .max ? 0x8000 : nextRequestID + 1
            guard !requests.contains(nextRequestID), !outbound.isTaken(nextRequestID) else { continue }
            requests.insert(nextRequestID)
            return nextRequestID
        }
        return nil
    }
}

extension ClientSession {
    /// Throws where the broker breaks the protocol; the connection is then to be closed with the reason.
    package mutating func received(_ packet: Packet) throws(DecodingError) -> Event? {
        try checkOrder(packet.kind)
        switch packet {
        case .connack(let connack):
            let event = try connackReceived(connack)
            pump()
            return event
        case .publish(let publish): return try publishReceived(publish)
        case .puback(let answer):
            return pubackReceived(answer.packetID).map { .published($0, answer.reasonCode) }
        case .pubrec(let answer):
            return pubrecReceived(answer.packetID, answer.reasonCode).map { .published($0, answer.reasonCode) }
        case .pubrel(let answer):
            pubrelReceived(answer.packetID)
            return nil
        case .pubcomp(let answer):
            // 0x92 says that the broker had released it before: the message has arrived all the same.
            return pubcompReceived(answer.packetID).map { .published($0, .success) }
        case .suback(let suback):
            requestEnded(suback.packetID)
            return .subscribed(suback)
        case .unsuback(let unsuback):
            requestEnded(unsuback.packetID)
            return .unsubscribed(unsuback)
        case .pingresp: return .pong
        case .disconnect(let disconnect):
            guard version == .v5 else { throw .protocolError("DISCONNECT from a server before MQTT 5.0") }
            return .disconnected(disconnect)
        case .auth(let auth): return .authentication(auth)
        case .connect, .subscribe, .unsubscribe, .pingreq:
            throw .protocolError("\(packet.kind) from a server")
        }
    }

    /// Before CONNACK nothing comes but AUTH [MQTT-3.2.0-1].
    package func checkOrder(_ kind: PacketKind) throws(DecodingError) {
        if phase == .connecting && kind != .connack && kind != .auth { throw .protocolError("\(kind) before CONNACK") }
    }

    private mutating func requestEnded(_ packetID: UInt16) {
        requests.remove(packetID)
        pump()
    }

    /// CONNACK came. Nothing is sent before `pump`, so that filters can be subscribed to first.
    package mutating func connackReceived(_ connack: Connack) throws(DecodingError) -> Event {
        guard !isConnected else { throw .protocolError("a second CONNACK") }  // [MQTT-3.2.0-2]
        guard connack.reasonCode == .success else {
            if connack.sessionPresent { throw .protocolError("a session is present, and refused") }  // [MQTT-3.2.2-6]
            return .connected(connack)
        }
        if connack.sessionPresent && startedClean { throw .protocolError("a session after Clean Start") }
        phase = .connected
        // Before 3.1.1 there is no flag: the broker keeps what it was not asked to discard.
        let isPresent = version == .v3_1 ? !startedClean : connack.sessionPresent
        if !isPresent {
            // [MQTT-3.2.2-5]: the broker has no state, so neither have we; unsent messages are kept, as new ones.
            forget()
        }
        limits = ServerLimits(connack.properties)
        outboundAliases = RecentAliases(maximum: min(limits.topicAliasMaximum, automaticAliasesMax))
        clientID = connack.properties[string: .assignedClientIdentifier] ?? clientID
        return .connected(connack)
    }

    private mutating func publishReceived(_ received: Publish) throws(DecodingError) -> Event? {
        var publish = received
        if let alias = received.properties[integer: .topicAlias] {
            publish.topic = try topic(received.topic.isEmpty ? nil : received.topic, alias: UInt16(clamping: alias))
        }
        let packetID = publish.packetID ?? 0
        switch try publishArrived(qos: publish.qos, packetID: packetID) {
        case .repeated: return nil
        case .deliver(let receipt):
            if acknowledging == .atOnce, let receipt { acknowledge(receipt) }
            return .message(publish)
        }
    }

    /// The topic that an alias stands for on this connection, which is given it where the packet has one.
    package mutating func topic(_ topic: String?, alias: UInt16) throws(DecodingError) -> String {
        let maximum = connect.properties[integer: .topicAliasMaximum] ?? 0
        guard alias > 0, alias <= maximum else {
            throw DecodingError(.topicAliasInvalid, "topic alias \(alias), at most \(maximum)")  // [MQTT-3.1.2-27]
        }
        if let topic { aliases[alias] = topic }
        guard let topic = aliases[alias] else { throw .protocolError("unknown topic alias") }
        return topic
    }
}
