import MQTTCore
import MQTTPackets
import NIOCore

/// Packets of one burst.
private let burst = 100
/// Bytes of a QoS 0 PUBLISH before 5.0 of `Samples.topic` and `Samples.payload`.
private let publishBytes = 2 + 2 + Samples.topic.utf8.count + Samples.payload.readableBytes
private let answerBytes = 4

func coreBenchmarks() {
    measure("Core: QoS 0 from one to one", operations: burst, expecting: burst * publishBytes) {
        let broker = Broker(version: .v3_1_1)
        let publisher = broker.connect("publisher")
        let subscriber = broker.connect("subscriber", subscribedTo: Samples.topic)
        let publishes = broker.publishes(burst, .atMostOnce)
        return {
            broker.receive(publishes, from: publisher)
            return broker.takeOutput(of: subscriber).readableBytes
        }
    }
    measure("Core: QoS 0 from one to 200", operations: 200, expecting: 200 * publishBytes) {
        let broker = Broker(version: .v3_1_1)
        let publisher = broker.connect("publisher")
        for number in 0..<200 { _ = broker.connect("subscriber-\(number)", subscribedTo: Samples.topic) }
        let publish = broker.publishes(1, .atMostOnce)
        return {
            broker.receive(publish, from: publisher)
            var bytes = 0
            broker.takeOutput { _, chunk in bytes += chunk.readableBytes }
            return bytes
        }
    }
    measure("Core: QoS 1 from one to one", operations: burst, expecting: burst * (answerBytes + publishBytes + 2)) {
        let pair = Pair(.atLeastOnce)
        return { pair.publish() + pair.answer([.puback]) }
    }
    measure("Core: QoS 2 from one to one", operations: burst, expecting: burst * (3 * answerBytes + publishBytes + 2)) {
        let pair = Pair(.exactlyOnce)
        return { pair.publish() + pair.release() + pair.answer([.pubrec, .pubcomp]) }
    }
    // CONNACK has four bytes, SUBACK five.
    measure("Core: CONNECT, SUBSCRIBE, DISCONNECT", operations: burst, expecting: burst * 9) {
        let broker = Broker(version: .v3_1_1)
        let subscribe = Subscribe(packetID: 7, filters: [Subscribe.Filter(Samples.topic)])
        let bursts = (0..<burst).map {
            broker.bytes([
                .connect(Connect(version: .v3_1_1, clientID: "press-\($0)")), .subscribe(subscribe),
                .disconnect(Disconnect(reasonCode: .success)),
            ])
        }
        return {
            // Those that owe CONNECT are looked at when its time is over.
            broker.pass(31_000)
            return bursts.reduce(0) { $0 + visit(broker, $1) }
        }
    }
}

/// A client comes and goes. Gives the bytes that it is sent.
private func visit(_ broker: Broker, _ burst: ByteBuffer) -> Int {
    let id = broker.open()
    broker.receive(burst, from: id)
    defer { broker.close(id) }
    return broker.takeOutput(of: id).readableBytes
}

/// A publisher and a subscriber, both before 5.0, that answer as their QoS demands. What they do gives the bytes that
/// the broker sends then.
private final class Pair {
    private let broker = Broker(version: .v3_1_1)
    private let publisher: ConnectionID
    private let subscriber: ConnectionID
    private let publishes: ByteBuffer
    private let releases: ByteBuffer
    /// As the subscriber got them.
    private var packetIDs: [UInt16] = []

    init(_ qos: QoS) {
        publisher = broker.connect("publisher")
        subscriber = broker.connect("subscriber", subscribedTo: Samples.topic, qos)
        publishes = broker.publishes(burst, qos)
        releases = Self.answers(.pubrel, to: Array(1...UInt16(burst)))
    }

    func publish() -> Int {
        broker.receive(publishes, from: publisher)
        packetIDs.removeAll(keepingCapacity: true)
        var bytes = 0
        broker.takeOutput { [self] connection, chunk in
            bytes += chunk.readableBytes
            if connection == subscriber { readPacketIDs(chunk) }
        }
        return bytes
    }

    func release() -> Int {
        broker.receive(releases, from: publisher)
        return broker.takeOutput(of: publisher).readableBytes
    }

    /// The subscriber answers all that it got, with one kind after the other.
    func answer(_ kinds: [PacketKind]) -> Int {
        var bytes = 0
        for kind in kinds {
            broker.receive(Self.answers(kind, to: packetIDs), from: subscriber)
            bytes += broker.takeOutput(of: subscriber).readableBytes
        }
        return bytes
    }

    private func readPacketIDs(_ chunk: ByteBuffer) {
        let (first, stride) = (chunk.readerIndex + 4 + Samples.topic.utf8.count, publishBytes + 2)
        for at in Swift.stride(from: first, to: chunk.writerIndex, by: stride) {
            guard let id = chunk.getInteger(at: at, as: UInt16.self) else { fatalError("half a packet") }
            packetIDs.append(id)
        }
    }

    private static func answers(_ kind: PacketKind, to packetIDs: [UInt16]) -> ByteBuffer {
        var buffer = ByteBuffer()
        buffer.reserveCapacity(packetIDs.count * answerBytes)
        let head = UInt32(kind.rawValue << 4 | kind.reservedFlags) << 24 | 2 << 16
        for id in packetIDs { buffer.writeInteger(head | UInt32(id)) }
        return buffer
    }
}
