import MQTTPackets
import NIOCore

/// Watches one connection from the broker's side of the wire: what it sends has to be what the specification and the
/// table of what waits for what let it send.
struct WireMonitor {
    /// An answer that the broker owes, and the ticket that it has to wait for.
    private struct Owed {
        let packetID: UInt16
        let ticket: UInt64
    }

    private let clientID: String
    private let version: ProtocolVersion
    private let receiveMaximum: Int
    private let packetBytesMax: Int
    private let aliasMaximum: UInt32
    private var decoder: PacketDecoder
    private var bytes = ByteBuffer()
    private var inFlight: Set<UInt16> = []
    private var owed: [PacketKind: [Owed]] = [:]
    private var connackTicket: UInt64 = 0
    private(set) var hasConnack = false
    private var hasDisconnect = false
    private var pings = 0
    private var isParted = false

    init(_ connect: Connect) {
        clientID = connect.clientID
        version = connect.version
        receiveMaximum = Int(connect.properties[integer: .receiveMaximum] ?? 65_535)
        packetBytesMax = Int(connect.properties[integer: .maximumPacketSize] ?? .max)
        aliasMaximum = connect.properties[integer: .topicAliasMaximum] ?? 0
        decoder = PacketDecoder(version: connect.version)
    }

    /// The broker has handled a packet. `ticket` is that of the last change it made, 0 where that is not known;
    /// `lastTicket` that of the last change to the session before it.
    mutating func handled(_ packet: Packet, ticket: UInt64, lastTicket: UInt64, _ store: StoreModel) {
        // What is not stored changes nothing of its own; what it changes of others need not be waited for.
        let isStored = store.session(of: clientID)?.expiryInterval ?? 0 > 0
        switch packet {
        case .connect: connackTicket = max(lastTicket, store.lastTicketOfConnect(clientID))
        case .publish(let publish):
            let id = publish.packetID ?? 0
            if publish.qos == .atLeastOnce { owe(.puback, id, ticket) }
            if publish.qos == .exactlyOnce {
                owe(.pubrec, id, max(ticket, store.session(of: clientID)?.packetIDs[id] ?? 0))
            }
        case .pubrel(let answer):
            let release = store.session(of: clientID)?.releases[answer.packetID] ?? 0
            owe(.pubcomp, answer.packetID, max(ticket, release))
        case .subscribe(let subscribe): owe(.suback, subscribe.packetID, isStored ? ticket : 0)
        case .unsubscribe(let unsubscribe): owe(.unsuback, unsubscribe.packetID, isStored ? ticket : 0)
        case .puback(let answer), .pubcomp(let answer): inFlight.remove(answer.packetID)
        case .pubrec(let answer): if answer.reasonCode.isError { inFlight.remove(answer.packetID) }
        case .pingreq: pings += 1
        default: break
        }
    }

    private mutating func owe(_ kind: PacketKind, _ packetID: UInt16, _ ticket: UInt64) {
        owed[kind, default: []].append(Owed(packetID: packetID, ticket: ticket))
    }

    /// The broker has written bytes, on a connection whose session may already be another's.
    mutating func sent(_ chunks: [ByteBuffer], isLast: Bool, _ store: StoreModel) throws {
        isParted = isLast
        for chunk in chunks { bytes.writeImmutableBuffer(chunk) }
        while true {
            let before = bytes.readableBytes
            guard let packet = try decoder.next(&bytes) else { break }
            try check(packet, packetBytes: before - bytes.readableBytes, store)
        }
        if bytes.readableBytes == 0 { bytes.clear() }
    }

    /// Whether every answer was given.
    var owesNothing: Bool { pings == 0 && owed.values.allSatisfy(\.isEmpty) }

    private mutating func check(_ packet: Packet, packetBytes: Int, _ store: StoreModel) throws {
        try expect(packetBytes <= packetBytesMax, "\(packet.kind) of \(packetBytes) bytes, at most \(packetBytesMax)")
        try expect(!hasDisconnect, "\(packet.kind) after DISCONNECT")
        if packet.kind != .connack { try expect(hasConnack, "\(packet.kind) before CONNACK") }
        switch packet {
        case .connack:
            try expect(!hasConnack, "a second CONNACK")
            try expect(connackTicket <= store.committed, "CONNACK before the commit of ticket \(connackTicket)")
            hasConnack = true
        case .publish(let publish): try check(publish, store)
        case .puback(let answer), .pubrec(let answer), .pubcomp(let answer):
            try settle(packet.kind, answer.packetID, store)
        case .suback(let answer): try settle(.suback, answer.packetID, store)
        case .unsuback(let answer): try settle(.unsuback, answer.packetID, store)
        case .pubrel(let answer):
            let ticket = store.session(of: clientID)?.received[UInt64(answer.packetID) - 1] ?? 0
            try expect(ticket <= store.committed, "PUBREL \(answer.packetID) before its PUBREC was committed")
        case .pingresp:
            pings -= 1
            try expect(pings >= 0, "PINGRESP without PINGREQ")
        case .disconnect:
            try expect(version == .v5, "DISCONNECT from the server before MQTT 5.0")
            hasDisconnect = true
        default: throw SimulationFailure("\(packet.kind) from the broker")
        }
    }

    private mutating func settle(_ kind: PacketKind, _ packetID: UInt16, _ store: StoreModel) throws {
        guard let first = owed[kind]?.first else { throw SimulationFailure("\(kind) \(packetID) out of nowhere") }
        try expect(first.packetID == packetID, "\(kind) \(packetID) before that of \(first.packetID)")
        try expect(first.ticket <= store.committed, "\(kind) \(packetID) before the commit of \(first.ticket)")
        owed[kind]?.removeFirst()
    }

    private mutating func check(_ publish: Publish, _ store: StoreModel) throws {
        if let alias = publish.properties[integer: .topicAlias] {
            try expect(alias > 0 && alias <= aliasMaximum, "topic alias \(alias), at most \(aliasMaximum)")
        }
        guard let packetID = publish.packetID else { return }
        try expect(inFlight.insert(packetID).inserted, "packet identifier \(packetID) is in flight already")
        try expect(inFlight.count <= receiveMaximum, "\(inFlight.count) in flight, Receive Maximum \(receiveMaximum)")
        guard !isParted, publish.qos == .exactlyOnce, let session = store.session(of: clientID) else { return }
        guard session.expiryInterval > 0 else { return }
        // Far fewer than 65,535 messages go to one session here, so the number follows from the identifier.
        guard let queued = session.queued[UInt64(packetID) - 1] else {
            throw SimulationFailure("QoS 2 message \(packetID) is sent and not stored")
        }
        try expect(queued.ticket <= store.committed, "QoS 2 message \(packetID) is sent before it was committed")
        let isMarked = session.marks.contains { $0.end >= UInt64(packetID) && $0.ticket <= store.committed }
        try expect(isMarked, "QoS 2 message \(packetID) is sent before the mark was raised above it")
    }
}
