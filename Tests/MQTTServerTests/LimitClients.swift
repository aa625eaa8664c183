import MQTTCore
import MQTTPackets
import MQTTServer
import MQTTTesting
import NIOCore
import Synchronization
import Testing

extension LimitTrial {
    /// A CONNECT is answered with a reason, or not at all where that is nil, and the connection is closed.
    func expectRefused(
        _ connect: Connect,
        _ reason: ReasonCode?,
        sourceLocation: SourceLocation = #_sourceLocation
    ) async throws {
        let client = try await self.connect.transport()
        client.version = connect.version
        try await client.send(.connect(connect))
        if let reason {
            let connack = Connack(sessionPresent: false, reasonCode: reason)
            #expect(try await client.next() == .connack(connack), sourceLocation: sourceLocation)
        }
        #expect(try await client.nextOrEnd() == nil, sourceLocation: sourceLocation)
    }

    /// A client, and the CONNACK that it was accepted with.
    func accepted(_ connect: Connect) async throws -> (client: TestClient, connack: Connack) {
        let client = try await self.connect.transport()
        client.version = connect.version
        try await client.send(.connect(connect))
        guard case .connack(let connack) = try await client.next(), connack.reasonCode == .success else {
            throw TimedOut(description: "no CONNACK")
        }
        return (client, connack)
    }

    /// A session with a subscription and without a connection.
    func sleeper(_ clientID: String, _ filter: String, _ qos: QoS) async throws {
        let client = try await connect(clientID, expiry: 600)
        try await client.subscribe(filter, qos)
        try await client.leave()
    }

    /// Publishes at QoS 0 until a figure of the broker is what it is to be; gives the number of messages.
    @discardableResult
    func flood(
        _ topic: String,
        by publisher: TestClient,
        payloadBytes: Int = 64 << 10,
        until isReached: (Statistics) -> Bool
    ) async throws -> Int {
        let payload = String(repeating: "x", count: payloadBytes)
        for number in 0..<1_000 {
            if isReached(broker.statistics) { return number }
            try await publisher.publish(topic, payload)
            try await publisher.ping()
        }
        throw TimedOut(description: "the flood came to nothing")
    }
}

extension TestClient {
    /// The reason that a message is acknowledged with.
    func reason(
        publishing topic: String,
        _ payload: String = "m",
        _ qos: QoS = .atLeastOnce,
        id: UInt16 = 1,
        isRetained: Bool = false
    ) async throws -> ReasonCode {
        try await publish(topic, payload, qos, id: id, isRetained: isRetained)
        switch try await next() {
        case .puback(let answer) where qos == .atLeastOnce && answer.packetID == id: return answer.reasonCode
        case .pubrec(let answer) where qos == .exactlyOnce && answer.packetID == id: return answer.reasonCode
        case let packet: throw TimedOut(description: "\(packet.kind) for a PUBLISH")
        }
    }

    /// The reasons of a SUBACK.
    func reasons(subscribing filters: [String], _ qos: QoS = .atMostOnce) async throws -> [ReasonCode] {
        let filters = filters.map { Subscribe.Filter($0, SubscriptionOptions(qos: qos)) }
        try await send(.subscribe(Subscribe(packetID: 1, filters: filters)))
        guard case .suback(let suback) = try await next() else { throw TimedOut(description: "no SUBACK") }
        return suback.reasonCodes
    }

    func unsubscribe(_ filter: String) async throws {
        try await send(.unsubscribe(Unsubscribe(packetID: 1, filters: [filter])))
        guard try await next().kind == .unsuback else { throw TimedOut(description: "no UNSUBACK") }
    }

    func nextPublish() async throws -> Publish {
        guard case .publish(let publish) = try await next() else {
            throw TimedOut(description: "another packet than PUBLISH")
        }
        return publish
    }

    /// The payloads of messages at QoS 1, each of which is acknowledged.
    func nextPayloads(_ count: Int) async throws -> [String] {
        var payloads: [String] = []
        for _ in 0..<count {
            let publish = try await nextPublish()
            payloads.append(String(buffer: publish.payload))
            try await send(.puback(Acknowledgement(packetID: try #require(publish.packetID))))
        }
        return payloads
    }
}

/// A 5.0 client that takes nothing from its socket but what the test asks for.
final class SlowClient: Sendable {
    private let channel: any Channel
    private let chunks: AsyncThrowingStream<ByteBuffer, any Error>
    private let rest = Mutex(ByteBuffer())

    init(_ connector: Connector, keepAlive: UInt16 = 0) async throws {
        let (chunks, continuation) = AsyncThrowingStream.makeStream(of: ByteBuffer.self)
        channel = try await connector.link().dial { channel in
            channel.eventLoop.makeCompletedFuture {
                try channel.syncOptions?.setOption(.autoRead, value: false)
                try channel.pipeline.syncOperations.addHandler(ChunkHandler(continuation))
            }
        }
        self.chunks = chunks
        try await send(.connect(Connect(version: .v5, clientID: "slow", keepAlive: keepAlive)))
        guard try await next()?.kind == .connack else { throw TimedOut(description: "no CONNACK") }
    }

    deinit { channel.close(promise: nil) }

    func send(_ packet: Packet) async throws {
        let bytes = PacketEncoder(version: .v5).encode(packet)
        try await within("writing") { try await self.channel.writeAndFlush(bytes) }
    }

    func subscribe(_ filter: String, _ qos: QoS = .atMostOnce) async throws {
        let filters = [Subscribe.Filter(filter, SubscriptionOptions(qos: qos))]
        try await send(.subscribe(Subscribe(packetID: 1, filters: filters)))
        guard try await next()?.kind == .suback else { throw TimedOut(description: "no SUBACK") }
    }

    /// Reads as far as it must for the next packet; nil where the connection is closed.
    func next() async throws -> Packet? {
        while true {
            let packet = try rest.withLock { rest in
                var decoder = PacketDecoder(version: .v5)
                return try decoder.next(&rest)
            }
            if let packet { return packet }
            channel.read()
            let chunks = chunks
            let chunk: ByteBuffer? = try await within("more bytes") {
                for try await chunk in chunks { return chunk }
                return nil
            }
            guard let chunk else { return nil }
            rest.withLock { _ = $0.writeImmutableBuffer(chunk) }
        }
    }

    /// The last packet before the connection is closed.
    func last() async throws -> Packet? {
        var last: Packet?
        while let packet = try await next() { last = packet }
        return last
    }

    /// The reason of the DISCONNECT that comes last.
    func lastReason() async throws -> ReasonCode? {
        guard case .disconnect(let disconnect)? = try await last() else { return nil }
        return disconnect.reasonCode
    }
}

extension ByteBuffer {
    /// The next bytes, of which there have to be so many.
    mutating func take(_ count: Int) throws -> ByteBuffer {
        let slice = readSlice(length: count)
        return try #require(slice)
    }
}

private final class ChunkHandler: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer

    private let chunks: AsyncThrowingStream<ByteBuffer, any Error>.Continuation

    init(_ chunks: AsyncThrowingStream<ByteBuffer, any Error>.Continuation) { self.chunks = chunks }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) { chunks.yield(unwrapInboundIn(data)) }

    func channelInactive(context: ChannelHandlerContext) { chunks.finish() }

    /// The end of a connection, like any other.
    func errorCaught(context: ChannelHandlerContext, error: any Error) { context.close(promise: nil) }
}
