import MQTTCore
import MQTTPackets
import NIOCore

/// One connection's end of the pipeline: bytes in, bytes out, and an orderly close.
final class ConnectionHandler: ChannelDuplexHandler, ConnectionEnd {
    typealias InboundIn = ByteBuffer
    typealias OutboundIn = ByteBuffer
    typealias OutboundOut = ByteBuffer

    /// How long the peer has to close its side after everything was written to it.
    private static let lingerTime = TimeAmount.seconds(1)
    /// How long a connection that is being closed has to take its last bytes.
    private static let lastWritesTime = TimeAmount.seconds(3)
    /// Bytes of a packet that has come in part which show that its client is there.
    private static let bytesOfLife = 16 << 10

    private let driver: LoopDriver
    private(set) var id = ConnectionID(slot: -1, generation: 0)
    private var context: ChannelHandlerContext?
    /// Bytes that are read and not yet handled.
    private var rest = ByteBuffer()
    /// How many bytes there have to be before it is worth asking the core again.
    private var wanted = 0
    private var next = Received.Next.read
    private var readIsPending = false
    private var isClosing = false
    private var isHandling = false
    private var closeReason = DisconnectReason.closed
    private let packetBytesMax: Int
    private let progressInterval: TimeAmount
    /// What the channel held when this was last looked at, while it is not writable.
    private var bytesUnwritten = 0
    private var isWatching = false
    /// What `rest` counts as among the receive buffers of all connections.
    private var bytesHeld = 0
    private var holdsTooMuch = false
    /// Bytes of a packet that have come since the core has last heard of this connection.
    private var bytesUntold = 0
    /// Only where hooks decide of packets.
    private var gate: PacketGate?
    /// Only where one client's packets are logged.
    private var trace: PacketTrace?

    init(driver: LoopDriver, packetBytesMax: Int, drainTime: Duration, trace: PacketTrace?) {
        self.driver = driver
        progressInterval = TimeAmount(drainTime / 4)
        self.packetBytesMax = packetBytesMax
        self.trace = trace
    }

    var closeFuture: EventLoopFuture<Void>? { context?.channel.closeFuture }

    /// A channel that host code has made may be active already.
    func handlerAdded(context: ChannelHandlerContext) {
        if context.channel.isActive { begin(context) }
    }

    func channelActive(context: ChannelHandlerContext) {
        begin(context)
        context.fireChannelActive()
    }

    private func begin(_ context: ChannelHandlerContext) {
        guard self.context == nil, !isClosing else { return }
        self.context = context
        let address = context.remoteAddress.map(Self.describe) ?? "unknown"
        guard let id = driver.opened(self, address: address) else {
            isClosing = true
            return context.close(promise: nil)
        }
        self.id = id
        gate = PacketGate(driver, id: id, address: address)
    }

    func channelInactive(context: ChannelHandlerContext) {
        self.context = nil
        gate?.close()
        rest = ByteBuffer()
        holdRest()
        if id.slot >= 0 { driver.closed(id, closeReason) }
        context.fireChannelInactive()
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        closeReason = .failed("\(error)")
        context.close(promise: nil)
    }

    // MARK: Reading

    func read(context: ChannelHandlerContext) {
        if next == .read || next == .ignore { context.read() } else { readIsPending = true }
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        var buffer = unwrapInboundIn(data)
        guard !isClosing else { return }
        if trace?.received(buffer) == false { trace = nil }
        if rest.readableBytes > 0 {
            bytesUntold += buffer.readableBytes
            completeRest(from: &buffer)
            guard !isClosing else { return }
        }
        if rest.readableBytes > 0 { rest.writeBuffer(&buffer) } else { rest = buffer }
        if next == .read && rest.readableBytes > 0 && rest.readableBytes >= wanted {
            handleRest()
            return endIfItHoldsTooMuch()
        }
        holdRest()
        endIfItHoldsTooMuch()
        guard bytesUntold >= Self.bytesOfLife else { return }
        bytesUntold = 0
        driver.turn { [id] core, now in core.receivedPart(from: id, at: now) }
    }

    /// Gives a packet that has come in part what it still needs, and no more: the burst behind it is handled where it
    /// stands, and not copied.
    private func completeRest(from buffer: inout ByteBuffer) {
        while rest.readableBytes > 0 && next == .read && !isHandling && !isClosing {
            guard var part = buffer.readSlice(length: max(1, wanted - rest.readableBytes)) else { return }
            rest.writeBuffer(&part)
            handleRest(isFollowed: buffer.readableBytes > 0)
        }
    }

    /// What is kept of a packet that has come in part counts, in this connection's name.
    private func holdRest() {
        let bytes = rest.readableBytes > 0 ? rest.storageCapacity : 0
        guard bytes != bytesHeld else { return }
        holdsTooMuch = !driver.receiveBuffers.change(from: bytesHeld, to: bytes)
        bytesHeld = bytes
    }

    /// Never from within a turn: what an outer turn took would be written after what this one takes.
    private func endIfItHoldsTooMuch() {
        guard holdsTooMuch, !isClosing else { return }
        driver.turn { [id] core, now in
            core.disconnect(id, .quotaExceeded, explanation: "too many packets have come in part", at: now)
        }
    }

    /// Writing what a turn brought may read, resume or close this very connection; `isHandling` keeps such calls from
    /// handling the same bytes inside one another.
    private func handleRest(isFollowed: Bool = false) {
        guard !isHandling else { return }
        isHandling = true
        defer { isHandling = false }
        repeat {
            let burst = rest
            let verdicts = gate?.look(at: burst) ?? []
            // What follows at once is written together with it.
            driver.turn(bytes: isFollowed ? 0 : burst.readableBytes) { [id] core, now in
                guard let gate else { return core.receive(burst, from: id, at: now) }
                return core.receive(burst, looked: gate.looked, verdicts, from: id, at: now)
            } applying: { received in
                next = received.next
                gate?.handled(received.consumed)
                rest.moveReaderIndex(forwardBy: received.consumed)
                keepRest()
            }
        } while !isClosing && next == .read && rest.readableBytes > 0 && rest.readableBytes >= wanted
        if next == .ask && !isClosing, let question = driver.turn({ [id] core, _ in core.question(of: id) }) {
            gate?.ask(question)
        }
        if next == .again && !isClosing {
            let bound = NIOLoopBound(self, eventLoop: driver.eventLoop)
            driver.eventLoop.scheduleTask(in: LoopDriver.betweenTurns) { bound.value.goOn() }
        }
    }

    /// The rest of a burst gets storage of its own: it may stay long, and the burst is large. There is room for the whole
    /// packet where half of it has come.
    private func keepRest() {
        wanted = 0
        bytesUntold = 0
        guard rest.readableBytes > 0 else {
            rest = ByteBuffer()
            return holdRest()
        }
        // Whether the header is in order is for the core to say; here it only tells how long the packet will be.
        let header = try? FixedHeader.read(rest.readableBytesUInt8Span, at: 0, packetBytesMax: packetBytesMax)
        let packetBytes = header.flatMap { $0 }?.packetBytes ?? 0
        let isMostlyThere = packetBytes / 2 <= rest.readableBytes
        var kept = ByteBufferAllocator()
            .buffer(capacity: isMostlyThere ? max(packetBytes, rest.readableBytes) : rest.readableBytes)
        kept.writeImmutableBuffer(rest)
        rest = kept
        holdRest()
        if next == .read { wanted = max(packetBytes, rest.readableBytes + 1) }
    }

    /// What held reading back is over.
    private func goOn() {
        guard context != nil, !isClosing else { return }
        next = .read
        wanted = 0
        if rest.readableBytes > 0 { handleRest() }
        if next == .read && readIsPending {
            readIsPending = false
            context?.read()
        }
    }

    // MARK: Writing

    func channelWritabilityChanged(context: ChannelHandlerContext) {
        let isWritable = context.channel.isWritable
        bytesUnwritten = isWritable ? 0 : bytesInChannel(context)
        driver.turn { [id, bytesUnwritten] core, now in
            core.setWritable(id, isWritable, bytesInTransport: bytesUnwritten, at: now)
        }
        if !isWritable { watchProgress() }
        context.fireChannelWritabilityChanged()
    }

    private func bytesInChannel(_ context: ChannelHandlerContext) -> Int {
        // A channel without this option holds nothing that it could tell.
        (try? context.channel.syncOptions?.getOption(.bufferedWritableBytes)) ?? 0
    }

    /// A channel tells that it takes no more in the middle of what it is given: the rest counts too.
    private func countUnwritten(_ context: ChannelHandlerContext) {
        guard !isClosing, bytesUnwritten > 0 else { return }
        bytesUnwritten = bytesInChannel(context)
        driver.turn { [id, bytesUnwritten] core, now in
            core.tookBytes(id, bytesInTransport: bytesUnwritten, at: now)
        }
    }

    /// A client that takes bytes, if slowly, is not one that takes nothing: the core is told now and then.
    private func watchProgress() {
        guard !isWatching else { return }
        isWatching = true
        let bound = NIOLoopBound(self, eventLoop: driver.eventLoop)
        driver.eventLoop.scheduleTask(in: progressInterval) { bound.value.lookForProgress() }
    }

    private func lookForProgress() {
        isWatching = false
        guard let context, !isClosing, bytesUnwritten > 0 else { return }
        let bytes = bytesInChannel(context)
        let isProgress = bytes < bytesUnwritten
        bytesUnwritten = bytes
        if isProgress {
            driver.turn { [id] core, now in core.tookBytes(id, bytesInTransport: bytes, at: now) }
        }
        watchProgress()
    }

    func perform(_ entry: OutputEntry) {
        guard let context else { return }
        if trace != nil { for chunk in entry.chunks { trace?.sent(chunk) } }
        if entry.closes { return close(context, after: entry.chunks) }
        if !entry.chunks.isEmpty {
            for chunk in entry.chunks { context.write(wrapOutboundOut(chunk), promise: nil) }
            context.flush()
            countUnwritten(context)
        }
        if entry.resumes { goOn() }
    }

    /// Write, shut down output, read and discard until the peer closes too or the time is up, then close: an early
    /// close would reset the connection, and the peer might never see the reason.
    private func close(_ context: ChannelHandlerContext, after chunks: [ByteBuffer]) {
        guard !isClosing else { return }
        isClosing = true
        next = .ignore
        gate?.close()
        rest = ByteBuffer()
        holdRest()
        let channel = context.channel
        let deadline = context.eventLoop.scheduleTask(in: Self.lastWritesTime) { channel.close(promise: nil) }
        let written = context.eventLoop.makePromise(of: Void.self)
        written.futureResult.whenComplete { _ in
            deadline.cancel()
            channel.close(mode: .output, promise: nil)
            channel.eventLoop.scheduleTask(in: Self.lingerTime) { channel.close(promise: nil) }
        }
        for chunk in chunks { context.write(wrapOutboundOut(chunk), promise: nil) }
        // An empty write is done once all before it are.
        context.writeAndFlush(wrapOutboundOut(ByteBuffer()), promise: written)
        if readIsPending {
            readIsPending = false
            context.read()
        }
    }

    private static func describe(_ address: SocketAddress) -> String {
        guard let host = address.ipAddress, let port = address.port else { return "\(address)" }
        return address.protocol == .inet6 ? "[\(host)]:\(port)" : "\(host):\(port)"
    }
}
