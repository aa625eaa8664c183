import Dispatch
import NIOCore

/// An event loop in time that a test moves. All loops of one time share its thread.
final class TestLoop: EventLoop {
    private let time: VirtualTime

    init(_ time: VirtualTime) { self.time = time }

    var inEventLoop: Bool { time.thread.inEventLoop }

    var now: NIODeadline { .uptimeNanoseconds(time.now) }

    func execute(_ task: @escaping @Sendable () -> Void) { time.execute(task) }

    @discardableResult
    func scheduleTask<Value>(
        deadline: NIODeadline,
        _ task: @escaping @Sendable () throws -> Value
    ) -> Scheduled<Value> {
        let promise = makePromise(of: Value.self)
        let id = time.schedule(at: deadline.uptimeNanoseconds) {
            do {
                promise.assumeIsolated().succeed(try task())
            } catch {
                promise.fail(error)
            }
        } drop: {
            promise.fail(EventLoopError.cancelled)
        }
        return Scheduled(promise: promise) { [time] in time.cancel(id) }
    }

    @discardableResult
    func scheduleTask<Value>(in delay: TimeAmount, _ task: @escaping @Sendable () throws -> Value) -> Scheduled<Value> {
        scheduleTask(deadline: now + delay, task)
    }

    func preconditionInEventLoop(file: StaticString, line: UInt) {
        time.thread.preconditionInEventLoop(file: file, line: line)
    }

    func preconditionNotInEventLoop(file: StaticString, line: UInt) {
        time.thread.preconditionNotInEventLoop(file: file, line: line)
    }

    /// The time goes on without it.
    func shutdownGracefully(queue: DispatchQueue, _ callback: @escaping @Sendable ((any Error)?) -> Void) {
        queue.async { callback(nil) }
    }
}

/// Some loops in one time.
final class TestLoops: EventLoopGroup {
    private let loops: [TestLoop]

    init(_ count: Int, _ time: VirtualTime) { loops = (0..<count).map { _ in TestLoop(time) } }

    func next() -> any EventLoop { loops[0] }

    func makeIterator() -> EventLoopIterator { EventLoopIterator(loops) }

    func shutdownGracefully(queue: DispatchQueue, _ callback: @escaping @Sendable ((any Error)?) -> Void) {
        queue.async { callback(nil) }
    }
}

/// Tasks whose parts are among what happens in the time.
final class TestExecutor: TaskExecutor {
    private let time: VirtualTime

    init(_ time: VirtualTime) { self.time = time }

    func enqueue(_ job: consuming ExecutorJob) {
        let job = UnownedJob(job)
        time.execute { job.runSynchronously(on: self.asUnownedTaskExecutor()) }
    }
}
