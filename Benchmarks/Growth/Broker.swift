import MQTTCore
import MQTTPackets
import NIOCore

/// A broker core on one loop, whose clients take everything at once. Its time stands still.
final class Broker {
    private var core: BrokerCore
    private let encoder = PacketEncoder(version: .v5)
    private static let memoryBytes = 1 << 40

    init() {
        var configuration = CoreConfiguration()
        configuration.limits.connectionsMax = 2_000_000
        configuration.limits.sessionsMax = 2_000_000
        configuration.limits.subscriptionsMax = 2_000_000
        configuration.limits.treeNodesMax = 20_000_000
        configuration.limits.subscriptionBytesMax = 1 << 40
        configuration.limits.sharedSubscriptionsMax = 1_000_000
        configuration.limits.retainedMessagesMax = 2_000_000
        configuration.limits.inFlightMax = 65_535
        configuration.limits.inFlightBytesMax = 1 << 40
        configuration.limits.deliveriesPerTurn = .max
        configuration.limits = configuration.limits.resolved(memoryBytes: Self.memoryBytes)
        core = BrokerCore(configuration: configuration)
    }

    var statistics: Statistics { core.currentStatistics }

    func connect(_ clientID: String, expiryInterval: UInt32 = 0) throws -> ConnectionID {
        guard let id = core.open(loop: 0, address: "", at: 0) else { throw Failure("a connection was not accepted") }
        var connect = Connect(version: .v5, clientID: clientID, keepAlive: 0)
        connect.properties[integer: .sessionExpiryInterval] = expiryInterval
        try send(.connect(connect), from: id)
        return id
    }

    func disconnect(_ id: ConnectionID) throws {
        try send(.disconnect(Disconnect(reasonCode: .success)), from: id)
        core.closed(id, .closed, at: 0)
        _ = core.takeEvents()
        _ = core.takeDiscarded()
    }

    func subscribe(_ filters: [String], qos: QoS = .atMostOnce, from id: ConnectionID) throws {
        let wanted = filters.map { Subscribe.Filter($0, SubscriptionOptions(qos: qos)) }
        try send(.subscribe(Subscribe(packetID: 1, filters: wanted)), from: id)
    }

    func send(_ packet: Packet, from id: ConnectionID) throws {
        try receive(encoder.encode(packet), from: id)
        takeOutput()
    }

    func encoded(_ packets: [Packet]) -> ByteBuffer {
        var bytes = ByteBuffer()
        for packet in packets { encoder.encode(packet, into: &bytes) }
        return bytes
    }

    /// A turn without its output.
    func receive(_ burst: ByteBuffer, from id: ConnectionID) throws {
        let received = core.receive(burst, from: id, at: 0)
        guard received.consumed == burst.readableBytes, received.next == .read || received.next == .ignore else {
            throw Failure("the core took \(received.consumed) of \(burst.readableBytes) bytes")
        }
    }

    /// What the loop writes.
    @discardableResult
    func takeOutput() -> [OutputEntry] {
        let output = core.takeOutput(loop: 0)
        _ = core.takeEvents()
        _ = core.takeDiscarded()
        return output
    }
}
