import DequeModule
import NIOCore

/// What is behind the pipeline of a channel in memory.
///
/// ```
///   write ─▶ unsent (counts against the water marks) ─flush─▶ peer's inbox (bounded) ─read─▶ peer's pipeline
/// ```
final class MemoryChannelCore: ChannelCore {
    /// What an end takes in before it is read, as a kernel's buffer does.
    private static let inboxBytesMax = 64 << 10

    private struct Write {
        var bytes: ByteBuffer
        let promise: EventLoopPromise<Void>?
    }

    private let pipeline: ChannelPipeline
    private let eventLoop: any EventLoop
    private let flags: MemoryChannel.Flags
    private let closed: EventLoopPromise<Void>
    private let local: SocketAddress?
    private let remote: SocketAddress?
    weak var peer: MemoryChannelCore?

    private var unsent = Deque<Write>()
    /// How many of them are flushed.
    private var flushed = 0
    private var unsentBytes = 0
    private var inbox = ByteBuffer()
    private var isOpen = true
    private var outputIsClosed = false
    /// The peer sends no more than what is in the inbox.
    private var endIsNear = false
    private var endWasTold = false
    private var readIsPending = false
    private var deliveryIsScheduled = false
    private var readsByItself = true
    private var allowsHalfClosure = false
    private var waterMark = ChannelOptions.Types.WriteBufferWaterMark(low: 32 << 10, high: 64 << 10)

    init(
        _ pipeline: ChannelPipeline,
        _ eventLoop: any EventLoop,
        _ flags: MemoryChannel.Flags,
        _ closed: EventLoopPromise<Void>,
        local: SocketAddress?,
        remote: SocketAddress?
    ) {
        self.pipeline = pipeline
        self.eventLoop = eventLoop
        self.flags = flags
        self.closed = closed
        self.local = local
        self.remote = remote
    }

    private var isActive: Bool { flags.isActive.load(ordering: .relaxed) }

    private func later(_ work: @escaping (MemoryChannelCore) -> Void) {
        eventLoop.assumeIsolated().execute { work(self) }
    }

    // MARK: Beginning

    /// The connection is there.
    func activate() {
        guard isOpen else { return }
        flags.isActive.store(true, ordering: .relaxed)
        pipeline.syncOperations.fireChannelRegistered()
        pipeline.syncOperations.fireChannelActive()
        readOn()
        scheduleDelivery()
    }

    func localAddress0() throws -> SocketAddress { try known(local) }
    func remoteAddress0() throws -> SocketAddress { try known(remote) }

    private func known(_ address: SocketAddress?) throws -> SocketAddress {
        guard let address else { throw ChannelError.operationUnsupported }
        return address
    }

    func register0(promise: EventLoopPromise<Void>?) { promise?.succeed() }
    func registerAlreadyConfigured0(promise: EventLoopPromise<Void>?) { promise?.succeed() }
    func bind0(to: SocketAddress, promise: EventLoopPromise<Void>?) { promise?.fail(ChannelError.operationUnsupported) }

    func connect0(to: SocketAddress, promise: EventLoopPromise<Void>?) {
        promise?.fail(ChannelError.operationUnsupported)
    }

    // MARK: Writing

    func write0(_ data: NIOAny, promise: EventLoopPromise<Void>?) {
        guard isOpen else {
            promise?.fail(ChannelError.ioOnClosedChannel)
            return
        }
        guard !outputIsClosed else {
            promise?.fail(ChannelError.outputClosed)
            return
        }
        let bytes = unwrapData(data, as: ByteBuffer.self)
        unsent.append(Write(bytes: bytes, promise: promise))
        unsentBytes += bytes.readableBytes
        if unsentBytes > waterMark.high { become(writable: false) }
    }

    func flush0() {
        flushed = unsent.count
        send()
    }

    /// As much as the peer has room for.
    private func send() {
        guard isOpen else { return }
        while flushed > 0 {
            guard let peer, peer.isOpen else { return close0(error: ChannelError.eof, mode: .all, promise: nil) }
            let room = Self.inboxBytesMax - peer.inbox.readableBytes
            guard room > 0 || unsent[0].bytes.readableBytes == 0 else { break }
            if var part = unsent[0].bytes.readSlice(length: min(room, unsent[0].bytes.readableBytes)) {
                unsentBytes -= part.readableBytes
                peer.inbox.writeBuffer(&part)
                peer.scheduleDelivery()
            }
            guard unsent[0].bytes.readableBytes == 0 else { break }
            flushed -= 1
            unsent.removeFirst().promise?.succeed()
        }
        if unsentBytes < waterMark.low { become(writable: true) }
    }

    private func become(writable isWritable: Bool) {
        guard flags.isWritable.exchange(isWritable, ordering: .relaxed) != isWritable else { return }
        pipeline.syncOperations.fireChannelWritabilityChanged()
    }

    // MARK: Reading

    func read0() {
        readIsPending = true
        scheduleDelivery()
    }

    private func readOn() {
        if readsByItself { pipeline.syncOperations.read() }
    }

    private func scheduleDelivery() {
        guard !deliveryIsScheduled else { return }
        deliveryIsScheduled = true
        later { core in
            core.deliveryIsScheduled = false
            core.deliver()
        }
    }

    /// At the end all is read that there is, as sockets have it, whether or not it was asked for.
    private func deliver() {
        guard isOpen, isActive, readIsPending || endIsNear else { return }
        if inbox.readableBytes > 0 {
            readIsPending = false
            let bytes = inbox
            inbox = ByteBuffer()
            peer?.later { $0.send() }
            pipeline.syncOperations.fireChannelRead(NIOAny(bytes))
            pipeline.syncOperations.fireChannelReadComplete()
            readOn()
            if endIsNear { scheduleDelivery() }
        } else if endIsNear && !endWasTold {
            endWasTold = true
            if allowsHalfClosure {
                pipeline.syncOperations.fireUserInboundEventTriggered(ChannelEvent.inputClosed)
            } else {
                close0(error: ChannelError.eof, mode: .all, promise: nil)
            }
        }
    }

    private func peerEnded() {
        endIsNear = true
        scheduleDelivery()
    }

    // MARK: The end

    func close0(error: any Error, mode: CloseMode, promise: EventLoopPromise<Void>?) {
        guard isOpen else {
            promise?.fail(ChannelError.alreadyClosed)
            return
        }
        switch mode {
        case .input: promise?.fail(ChannelError.operationUnsupported)
        case .output:
            guard !outputIsClosed else {
                promise?.fail(ChannelError.outputClosed)
                return
            }
            outputIsClosed = true
            dropUnsent(ChannelError.outputClosed)
            peer?.peerEnded()
            promise?.succeed()
        case .all:
            isOpen = false
            flags.isActive.store(false, ordering: .relaxed)
            dropUnsent(error)
            inbox = ByteBuffer()
            peer?.peerEnded()
            promise?.succeed()
            pipeline.syncOperations.fireChannelInactive()
            pipeline.syncOperations.fireChannelUnregistered()
            later { core in
                core.removeHandlers(pipeline: core.pipeline)
                core.closed.succeed()
            }
        }
    }

    private func dropUnsent(_ error: any Error) {
        let dropped = unsent
        unsent = []
        flushed = 0
        unsentBytes = 0
        for write in dropped { write.promise?.fail(error) }
    }

    func triggerUserOutboundEvent0(_ event: Any, promise: EventLoopPromise<Void>?) {
        promise?.fail(ChannelError.operationUnsupported)
    }

    /// Nobody wanted it.
    func channelRead0(_ data: NIOAny) {}

    func errorCaught0(error: any Error) {}
}

extension MemoryChannelCore: NIOSynchronousChannelOptions {
    /// Those of reading and writing that mean something without a socket.
    func setOption<Option: ChannelOption>(_ option: Option, value: Option.Value) throws {
        switch (option, value) {
        case (is ChannelOptions.Types.AutoReadOption, let value as Bool):
            readsByItself = value
            if value { readOn() }
        case (is ChannelOptions.Types.AllowRemoteHalfClosureOption, let value as Bool): allowsHalfClosure = value
        case (
            is ChannelOptions.Types.WriteBufferWaterMarkOption, let value as ChannelOptions.Types.WriteBufferWaterMark
        ):
            waterMark = value
        default: throw ChannelError.operationUnsupported
        }
    }

    func getOption<Option: ChannelOption>(_ option: Option) throws -> Option.Value {
        let value: Any? =
            switch option {
            case is ChannelOptions.Types.AutoReadOption: readsByItself
            case is ChannelOptions.Types.AllowRemoteHalfClosureOption: allowsHalfClosure
            case is ChannelOptions.Types.WriteBufferWaterMarkOption: waterMark
            case is ChannelOptions.Types.BufferedWritableBytesOption: unsentBytes
            default: nil
            }
        guard let value = value as? Option.Value else { throw ChannelError.operationUnsupported }
        return value
    }
}
