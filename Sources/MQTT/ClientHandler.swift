import NIOCore

/// One connection's place in its channel.
final class ClientHandler: ChannelDuplexHandler {
    typealias InboundIn = ByteBuffer
    typealias OutboundIn = ByteBuffer
    typealias OutboundOut = ByteBuffer

    /// How long the server has to close the connection too once it was told that it ends.
    private static let lingerTime = TimeAmount.seconds(1)
    /// How long it may take nothing of what it is still to be sent before.
    private static let stallTime = TimeAmount.seconds(5)

    private let driver: ClientDriver
    private let attempt: Int
    private var context: ChannelHandlerContext?
    private var readIsPending = false
    private var isClosing = false

    init(_ driver: ClientDriver, attempt: Int) {
        self.driver = driver
        self.attempt = attempt
    }

    var isWritable: Bool { context?.channel.isWritable ?? false }

    func channelActive(context: ChannelHandlerContext) {
        self.context = context
        guard driver.opened(self, attempt: attempt) else {
            isClosing = true
            return context.close(promise: nil)
        }
        context.fireChannelActive()
    }

    func channelInactive(context: ChannelHandlerContext) {
        self.context = nil
        driver.closed(self, .connectionLost("the server closed it"))
        context.fireChannelInactive()
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        driver.closed(self, .connectionLost(SystemCause.of(error)))
        close()
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        guard !isClosing else { return }
        driver.received(unwrapInboundIn(data))
    }

    func channelReadComplete(context: ChannelHandlerContext) {
        driver.burstEnded()
        context.fireChannelReadComplete()
    }

    func channelWritabilityChanged(context: ChannelHandlerContext) {
        if context.channel.isWritable { driver.becameWritable() }
        context.fireChannelWritabilityChanged()
    }

    func read(context: ChannelHandlerContext) {
        if driver.holdsReading && !isClosing { readIsPending = true } else { context.read() }
    }

    func resumeReading() {
        guard readIsPending, !driver.holdsReading else { return }
        readIsPending = false
        context?.read()
    }

    func write(_ bytes: ByteBuffer) { context?.writeAndFlush(wrapOutboundOut(bytes), promise: nil) }

    /// Ends the connection without another word.
    func close() {
        isClosing = true
        context?.close(promise: nil)
    }

    /// Ends the connection once all that was written has gone out: an early close would reset it, and the server might
    /// not see what came last.
    func closeAfterWrites() {
        guard !isClosing, let context else { return }
        isClosing = true
        let channel = context.channel
        closeWhenStalled(context)
        // An empty write is done once all before it are.
        let written = context.eventLoop.makePromise(of: Void.self)
        written.futureResult.whenComplete { _ in
            channel.close(mode: .output, promise: nil)
            channel.eventLoop.scheduleTask(in: Self.lingerTime) { channel.close(promise: nil) }
        }
        context.writeAndFlush(wrapOutboundOut(ByteBuffer()), promise: written)
        if readIsPending {
            readIsPending = false
            context.read()
        }
    }

    private func closeWhenStalled(_ context: ChannelHandlerContext) {
        let unsent = unsentBytes(context)
        // With nothing unsent the server has the linger time alone.
        guard unsent > 0 else { return }
        context.eventLoop.assumeIsolated().scheduleTask(in: Self.stallTime) {
            guard let context = self.context else { return }
            guard self.unsentBytes(context) == unsent else { return self.closeWhenStalled(context) }
            self.driver.stalled(self)
            context.close(promise: nil)
        }
    }

    private func unsentBytes(_ context: ChannelHandlerContext) -> Int {
        (try? context.channel.syncOptions?.getOption(.bufferedWritableBytes)) ?? 0
    }
}
