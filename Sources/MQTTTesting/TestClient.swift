import MQTT
import MQTTPackets
import NIOCore
import Synchronization

/// A client that sends what it is told, byte by byte where need be, and shows each packet that comes.
public final class TestClient: Sendable {
    /// The way to the broker.
    public let link: Link
    private let channel: any Channel
    private let packets: AsyncThrowingStream<Packet, any Error>
    private let inbox: Inbox

    /// Connected, and nothing sent.
    init(_ link: Link) async throws {
        let (packets, continuation) = AsyncThrowingStream.makeStream(of: Packet.self)
        let inbox = Inbox(continuation)
        channel = try await link.dial { channel in
            channel.eventLoop.makeCompletedFuture {
                try channel.pipeline.syncOperations.addHandler(InboxHandler(inbox))
            }
        }
        self.link = link
        self.packets = packets
        self.inbox = inbox
    }

    deinit { channel.close(promise: nil) }

    /// Of the packets that come.
    public var version: ProtocolVersion {
        get { inbox.version.withLock { $0 } }
        set { inbox.version.withLock { $0 = newValue } }
    }

    /// Packets that have come, whether or not they were looked at.
    public var received: Int { inbox.received.load(ordering: .relaxed) }

    /// Whether the connection is over.
    public var isClosed: Bool { inbox.isClosed.load(ordering: .relaxed) }

    // MARK: Sending

    /// Any bytes.
    public func send(_ bytes: ByteBuffer) async throws {
        try await within("writing") { try await self.channel.writeAndFlush(bytes) }
    }

    package func send(_ packet: Packet) async throws { try await send(PacketEncoder(version: version).encode(packet)) }

    /// CONNECT, without waiting for an answer. With a keep alive, in seconds, the test has to ping.
    public func sendConnect(
        _ clientID: String,
        will: Will? = nil,
        expiry: UInt32 = 0,
        keepAlive: UInt16 = 0
    ) async throws {
        var connect = Connect(
            version: version,
            clientID: clientID,
            cleanStart: expiry == 0,
            keepAlive: keepAlive,
            will: will
        )
        if version == .v5 && expiry > 0 { connect.properties[integer: .sessionExpiryInterval] = expiry }
        try await send(.connect(connect))
    }

    /// SUBSCRIBE with packet id 1; throws where it is refused, or where something else comes first.
    public func subscribe(_ filter: String, _ qos: QoS = .atMostOnce) async throws {
        let filters = [Subscribe.Filter(filter, SubscriptionOptions(qos: qos))]
        try await send(.subscribe(Subscribe(packetID: 1, filters: filters)))
        guard case .suback(let suback) = try await next(), suback.reasonCodes.allSatisfy({ !$0.isError }) else {
            throw unexpected("SUBACK")
        }
    }

    /// PUBLISH, without waiting for an answer. QoS 1 and 2 need an id.
    public func publish(
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
    public func acknowledge(_ count: Int) async throws {
        var left = count
        while left > 0 {
            guard case .publish(let publish) = try await next(), let id = publish.packetID else { continue }
            try await send(.puback(Acknowledgement(packetID: id)))
            left -= 1
        }
    }

    /// Comes back when the broker has answered all that was sent before.
    public func ping() async throws {
        try await send(.pingreq)
        guard try await next() == .pingresp else { throw unexpected("PINGRESP") }
    }

    /// DISCONNECT, after which the broker closes; comes back when the broker has parted it from its session.
    public func leave() async throws {
        try await send(.disconnect(Disconnect()))
        guard try await nextOrEnd() == nil else { throw unexpected("the end") }
    }

    /// Stops to read, for ever.
    public func stopReading() async throws { try await channel.setOption(.autoRead, value: false).get() }

    /// Ends the connection without a word.
    public func close() async throws { try await within("closing") { try await self.channel.close() } }

    // MARK: Receiving

    /// The next packet; throws where there is none in time, or where the connection is closed.
    package func next() async throws -> Packet {
        guard let packet = try await nextOrEnd() else { throw ChannelError.eof }
        return packet
    }

    /// The next packet; nil where the connection is closed.
    package func nextOrEnd() async throws -> Packet? {
        let packets = packets
        do {
            return try await within("the next packet") {
                for try await packet in packets { return packet }
                return nil
            }
        } catch let error as TestingError {
            throw TestingError(description: "\(error.description). The transcript:\n\(link.transcript)")
        }
    }

    /// The reason that the broker ends the connection with: nothing comes behind it [MQTT-3.14.4-1]. Nil where there is
    /// none.
    public func disconnectReason() async throws -> ReasonCode? {
        guard case .disconnect(let disconnect)? = try await nextOrEnd(), try await nextOrEnd() == nil else {
            return nil
        }
        return disconnect.reasonCode
    }

    /// The payload of the next packet, which is a PUBLISH.
    public func nextPayload() async throws -> String {
        guard case .publish(let publish) = try await next() else { throw unexpected("PUBLISH") }
        return String(buffer: publish.payload)
    }

    package func unexpected(_ what: String) -> TestingError {
        TestingError(description: "something else than \(what). The transcript:\n\(link.transcript)")
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
