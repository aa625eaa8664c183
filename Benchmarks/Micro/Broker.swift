import MQTTCore
import MQTTPackets
import NIOCore

/// A broker core on one loop, driven as the loop drives it: a burst goes in, and all output is taken. Clients take
/// everything at once.
final class Broker {
    private var core: BrokerCore
    private let encoder: PacketEncoder
    private var now: Int64 = 0

    init(version: ProtocolVersion) {
        var configuration = CoreConfiguration()
        configuration.limits = configuration.limits.resolved(memoryBytes: 4 << 30)
        core = BrokerCore(configuration: configuration)
        encoder = PacketEncoder(version: version)
    }

    func open() -> ConnectionID {
        guard let id = core.open(loop: 0, address: "127.0.0.1:50000", at: now) else {
            fatalError("a connection was not accepted")
        }
        return id
    }

    func close(_ id: ConnectionID) { core.closed(id, .closed, at: now) }

    /// What is due within so many milliseconds happens.
    func pass(_ milliseconds: Int64) {
        now += milliseconds
        while !core.expire(at: now) {}
    }

    func connect(_ clientID: String, subscribedTo filter: String? = nil, _ qos: QoS = .atMostOnce) -> ConnectionID {
        let id = open()
        receive(bytes([.connect(Connect(version: encoder.version, clientID: clientID, keepAlive: 0))]), from: id)
        if let filter {
            let wanted = Subscribe.Filter(filter, SubscriptionOptions(qos: qos))
            receive(bytes([.subscribe(Subscribe(packetID: 1, filters: [wanted]))]), from: id)
        }
        takeOutput { _, _ in }
        return id
    }

    func bytes(_ packets: [Packet]) -> ByteBuffer {
        var buffer = ByteBuffer()
        for packet in packets { encoder.encode(packet, into: &buffer) }
        return buffer
    }

    func publishes(_ count: Int, _ qos: QoS) -> ByteBuffer {
        bytes(
            (1...UInt16(count)).map {
                .publish(
                    Publish(
                        topic: Samples.topic,
                        payload: Samples.payload,
                        qos: qos,
                        packetID: qos == .atMostOnce ? nil : $0
                    )
                )
            }
        )
    }

    func receive(_ burst: ByteBuffer, from id: ConnectionID) {
        let received = core.receive(burst, from: id, at: now)
        precondition(received.consumed == burst.readableBytes, "the core took \(received.consumed) bytes of a burst")
    }

    /// Calls `body` with each connection that is written to, and what.
    func takeOutput(_ body: (ConnectionID, ByteBuffer) -> Void) {
        for entry in core.takeOutput(loop: 0) {
            for chunk in entry.chunks { body(entry.connection, chunk) }
        }
        _ = core.takeEvents()
        _ = core.takeDiscarded()
    }

    /// All that is written to one connection, and nothing may be written to another.
    func takeOutput(of id: ConnectionID) -> ByteBuffer {
        var output = ByteBuffer()
        takeOutput { connection, chunk in
            precondition(connection == id && output.readableBytes == 0, "output of another connection, or in parts")
            output = chunk
        }
        return output
    }
}
