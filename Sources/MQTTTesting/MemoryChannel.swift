import NIOCore
import Synchronization

/// One end of a pipe in memory, which takes and gives bytes as a stream socket does.
final class MemoryChannel: Channel {
    let eventLoop: any EventLoop
    let allocator = ByteBufferAllocator()
    let parent: (any Channel)? = nil
    let localAddress: SocketAddress?
    let remoteAddress: SocketAddress?
    let closeFuture: EventLoopFuture<Void>
    /// Set once, before anybody else sees the channel: each needs the other.
    private let madePipeline = Mutex<ChannelPipeline?>(nil)
    private let madeCore: NIOLoopBoundBox<MemoryChannelCore?>
    let flags: Flags

    /// What is asked from any thread.
    final class Flags: Sendable {
        let isActive = Atomic<Bool>(false)
        let isWritable = Atomic<Bool>(true)
    }

    /// To be made on the loop.
    private init(_ eventLoop: any EventLoop, local: SocketAddress?, remote: SocketAddress?) {
        self.eventLoop = eventLoop
        localAddress = local
        remoteAddress = remote
        flags = Flags()
        let closed = eventLoop.makePromise(of: Void.self)
        closeFuture = closed.futureResult
        madeCore = NIOLoopBoundBox(nil, eventLoop: eventLoop)
        let pipeline = ChannelPipeline(channel: self)
        madePipeline.withLock { $0 = pipeline }
        madeCore.value = MemoryChannelCore(pipeline, eventLoop, flags, closed, local: local, remote: remote)
    }

    /// Two ends, not active yet: to be made on the thread of both loops.
    static func pair(
        _ one: (loop: any EventLoop, address: SocketAddress?),
        _ other: (loop: any EventLoop, address: SocketAddress?)
    ) -> (MemoryChannel, MemoryChannel) {
        let first = MemoryChannel(one.loop, local: one.address, remote: other.address)
        let second = MemoryChannel(other.loop, local: other.address, remote: one.address)
        first.core.peer = second.core
        second.core.peer = first.core
        return (first, second)
    }

    var core: MemoryChannelCore {
        guard let core = madeCore.value else { preconditionFailure("a channel is used before it is made") }
        return core
    }

    var pipeline: ChannelPipeline {
        guard let pipeline = madePipeline.withLock({ $0 }) else {
            preconditionFailure("a channel is used before it is made")
        }
        return pipeline
    }

    var isWritable: Bool { flags.isWritable.load(ordering: .relaxed) }
    var isActive: Bool { flags.isActive.load(ordering: .relaxed) }
    var _channelCore: any ChannelCore { core }

    func setOption<Option: ChannelOption>(_ option: Option, value: Option.Value) -> EventLoopFuture<Void> {
        eventLoop.submit { try self.core.setOption(option, value: value) }
    }

    func getOption<Option: ChannelOption>(_ option: Option) -> EventLoopFuture<Option.Value> {
        eventLoop.submit { try self.core.getOption(option) }
    }

    var syncOptions: (any NIOSynchronousChannelOptions)? { core }
}
