import MQTTPackets
import NIOCore
import NIOPosix
import Synchronization

/// A client that sends what it is told, byte by byte where need be, and shows each packet that comes.
final class TestClient: Sendable {
    private let channel: any Channel
    private let packets: AsyncThrowingStream<Packet, any Error>
    private let inbox: Inbox

    init(_ address: SocketAddress, receiveBytes: Int? = nil) async throws {
        let (packets, continuation) = AsyncThrowingStream.makeStream(of: Packet.self)
        let inbox = Inbox(continuation)
        var bootstrap = ClientBootstrap(group: MultiThreadedEventLoopGroup.singleton)
            .channelOption(.tcpOption(.tcp_nodelay), value: 1)
            .channelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    try channel.pipeline.syncOperations.addHandler(InboxHandler(inbox))
                }
            }
        if let receiveBytes {
            bootstrap = bootstrap.channelOption(.socketOption(.so_rcvbuf), value: receiveBytes)
        }
        let connecting = bootstrap.connect(to: address)
        channel = try await within("connecting", .seconds(5)) { try await connecting.get() }
        self.packets = packets
        self.inbox = inbox
    }

    deinit { channel.close(promise: nil) }

    /// Of the packets that come.
    var version: ProtocolVersion {
        get { inbox.version.withLock { $0 } }
        set { inbox.version.withLock { $0 = newValue } }
    }

    /// Packets that have come, whether or not they were looked at.
    var received: Int { inbox.received.load(ordering: .relaxed) }

    /// Whether the broker has closed the connection.
    var isClosed: Bool { inbox.isClosed.load(ordering: .relaxed) }

    // MARK: Sending

    func send(_ bytes: ByteBuffer) async throws {
        try await within("writing") { try await self.channel.writeAndFlush(bytes) }
    }

    func send(_ packet: Packet) async throws { try await send(PacketEncoder(version: version).encode(packet)) }

    func sendConnect(_ clientID: String, will: Will? = nil, expiry: UInt32 = 0) async throws {
        var connect = Connect(version: version, clientID: clientID, cleanStart: expiry == 0, will: will)
        if version == .v5 && expiry > 0 { connect.properties[integer: .sessionExpiryInterval] = expiry }
        try await send(.connect(connect))
    }

    func subscribe(_ filter: String, _ qos: QoS = .atMostOnce) async throws {
        let filters = [Subscribe.Filter(filter, SubscriptionOptions(qos: qos))]
        try await send(.subscribe(Subscribe(packetID: 1, filters: filters)))
        guard case .suback(let suback) = try await next(), suback.reasonCodes.allSatisfy({ !$0.isError }) else {
            throw TimedOut(description: "no SUBACK")
        }
    }

    func publish(
        _ topic: String,
        _ payload: String,
        _ qos: QoS = .atMostOnce,
        id: UInt16? = nil,
        isRetained: Bool = false
    ) async throws {
        let publish = Publish(
            topic: topic,
            payload: ByteBuffer(string: payload),
            qos: qos,
            isRetained: isRetained,
            packetID: id
        )
        try await send(.publish(publish))
    }

    /// Acknowledges the next PUBLISH packets of QoS 1, so many, and passes over what comes between them.
    func acknowledge(_ count: Int) async throws {
        var left = count
        while left > 0 {
            guard case .publish(let publish) = try await next(), let id = publish.packetID else { continue }
            try await send(.puback(Acknowledgement(packetID: id)))
            left -= 1
        }
    }

    /// Comes back when the broker has answered all that was sent before.
    func ping() async throws {
        try await send(.pingreq)
        guard try await next() == .pingresp else { throw TimedOut(description: "no PINGRESP") }
    }

    /// Stops to read, for ever.
    func stopReading() async throws { try await channel.setOption(.autoRead, value: false).get() }

    func close() async throws { try await within("closing") { try await self.channel.close() } }

    // MARK: Receiving

    /// The next packet; throws where there is none in time, or where the connection is closed.
    func next() async throws -> Packet {
        guard let packet = try await nextOrEnd() else { throw ChannelError.eof }
        return packet
    }

    /// The next packet; nil where the connection is closed.
    func nextOrEnd() async throws -> Packet? {
        let packets = packets
        return try await within("the next packet") {
            for try await packet in packets { return packet }
            return nil
        }
    }

    /// The reason that the broker ends the connection with: nothing comes behind it [MQTT-3.14.4-1].
    func disconnectReason() async throws -> ReasonCode? {
        guard case .disconnect(let disconnect)? = try await nextOrEnd(), try await nextOrEnd() == nil else {
            return nil
        }
        return disconnect.reasonCode
    }

    /// The payload of the next packet, which is a PUBLISH.
    func nextPayload() async throws -> String {
        guard case .publish(let publish) = try await next() else {
            throw TimedOut(description: "another packet than PUBLISH")
        }
        return String(buffer: publish.payload)
    }
}

private final class Inbox: Sendable {
    let version = Mutex(ProtocolVersion.v5)
    let received = Atomic<Int>(0)
    let isClosed = Atomic<Bool>(false)
    let packets: AsyncThrowingStream<Packet, any Error>.Continuation

    init(_ packets: AsyncThrowingStream<Packet, any Error>.Continuation) { self.packets = packets }
}

private final class InboxHandler: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer

    private let inbox: Inbox
    private var rest = ByteBuffer()

    init(_ inbox: Inbox) { self.inbox = inbox }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        var bytes = unwrapInboundIn(data)
        rest.writeBuffer(&bytes)
        var decoder = PacketDecoder(version: inbox.version.withLock { $0 })
        do {
            while let packet = try decoder.next(&rest) {
                inbox.received.add(1, ordering: .relaxed)
                inbox.packets.yield(packet)
            }
        } catch {
            inbox.packets.finish(throwing: error)
        }
    }

    func channelInactive(context: ChannelHandlerContext) {
        inbox.isClosed.store(true, ordering: .relaxed)
        inbox.packets.finish()
    }

    /// The end of a connection, like any other.
    func errorCaught(context: ChannelHandlerContext, error: any Error) { context.close(promise: nil) }
}
