import HeapModule
import NIOCore
import NIOPosix
import Synchronization

/// Time that only a test moves, and everything that happens in it, one thing after the other on one thread.
///
/// Event loops and executors hand their work to `execute`; timers wait until somebody moves the time to them.
final class VirtualTime: Sendable {
    /// A timer, and what becomes of it where the time ends before.
    private struct Timer: Sendable {
        let fire: @Sendable () -> Void
        let drop: @Sendable () -> Void
    }

    private struct Due: Comparable {
        let time: UInt64
        let id: UInt64

        static func < (one: Due, other: Due) -> Bool { (one.time, one.id) < (other.time, other.id) }
    }

    private struct State {
        var now: UInt64 = 0
        var timers: [UInt64: Timer] = [:]
        var due = Heap<Due>()
        var lastID: UInt64 = 0
        /// Given to the thread and not done.
        var unfinished = 0
        /// Ever given to the thread.
        var tasks: UInt64 = 0
        var waiting: [CheckedContinuation<Void, Never>] = []
        var isOver = false
    }

    /// A shorter delay lets a loop look at its channels and is no time at all: here each task has its turn in order.
    private static let shortest: UInt64 = 1_000_000
    /// How long, in real time, it is waited for all to come to rest: what goes on for ever does not stop the time.
    private static let restMax = Duration.seconds(2)

    let thread: any EventLoop = MultiThreadedEventLoopGroup.singleton.next()
    private let state = Mutex(State())

    /// Nanoseconds since the time began.
    var now: UInt64 { state.withLock(\.now) }

    // MARK: Work

    func execute(_ work: @escaping @Sendable () -> Void) {
        state.withLock { state in
            state.unfinished += 1
            state.tasks += 1
        }
        thread.execute {
            work()
            self.finished()
        }
    }

    private func finished() {
        let waiting = state.withLock { state -> [CheckedContinuation<Void, Never>] in
            state.unfinished -= 1
            guard state.unfinished == 0 else { return [] }
            defer { state.waiting = [] }
            return state.waiting
        }
        for continuation in waiting { continuation.resume() }
    }

    /// A number to cancel it by. Once the time has ended it is dropped at once.
    func schedule(
        at time: UInt64,
        fire: @escaping @Sendable () -> Void,
        drop: @escaping @Sendable () -> Void = {}
    ) -> UInt64 {
        let (id, isShort, isOver) = state.withLock { state in
            state.lastID += 1
            guard !state.isOver else { return (state.lastID, false, true) }
            state.timers[state.lastID] = Timer(fire: fire, drop: drop)
            let isShort = time < state.now + Self.shortest
            if !isShort { state.due.insert(Due(time: time, id: state.lastID)) }
            return (state.lastID, isShort, false)
        }
        if isShort { execute { self.fire(id) } }
        if isOver { drop() }
        return id
    }

    /// True where it had not fired yet.
    @discardableResult
    func cancel(_ id: UInt64) -> Bool { state.withLock { $0.timers.removeValue(forKey: id) } != nil }

    private func fire(_ id: UInt64) { state.withLock { $0.timers.removeValue(forKey: id) }?.fire() }

    // MARK: Moving

    /// Comes back once nothing happens any more, as far as that can be seen: what tasks of the test's own do between two
    /// calls of a client is not seen.
    func rest() async {
        let limit = ContinuousClock.now + Self.restMax
        while ContinuousClock.now < limit {
            await idle()
            let before = state.withLock(\.tasks)
            // Tasks that something has just resumed have their turn.
            for _ in 0..<4 { await Task.yield() }
            if state.withLock({ $0.unfinished == 0 && $0.tasks == before }) { return }
        }
    }

    private func idle() async {
        await withCheckedContinuation { continuation in
            let isIdle = state.withLock { state in
                if state.unfinished > 0 { state.waiting.append(continuation) }
                return state.unfinished == 0
            }
            if isIdle { continuation.resume() }
        }
    }

    enum Step {
        case fired
        /// The next timer is due later.
        case reachedLimit
        case noTimer
    }

    /// Moves on to the timers that are next, if they are due by `limit`, and fires them.
    func fireNext(by limit: UInt64) -> Step {
        let (next, step): ([UInt64], Step) = state.withLock { state in
            var ids: [UInt64] = []
            while let due = state.due.min {
                let isOver = state.timers[due.id] == nil
                // Those of one moment, in the order in which they were set.
                guard isOver || (due.time <= limit && (ids.isEmpty || due.time <= state.now)) else { break }
                state.due.removeMin()
                guard !isOver else { continue }
                state.now = max(state.now, due.time)
                ids.append(due.id)
            }
            return (ids, !ids.isEmpty ? .fired : state.due.isEmpty ? .noTimer : .reachedLimit)
        }
        for id in next { execute { self.fire(id) } }
        return step
    }

    /// Moves on by so many nanoseconds, from timer to timer.
    func advance(by nanoseconds: UInt64) async {
        await rest()
        let end = now + nanoseconds
        while fireNext(by: end) == .fired { await rest() }
        state.withLock { $0.now = max($0.now, end) }
    }

    /// Nothing is waited for any more: timers are dropped.
    func end() {
        let timers = state.withLock { state in
            state.isOver = true
            defer {
                state.timers = [:]
                state.due = Heap()
            }
            return Array(state.timers.values)
        }
        for timer in timers { timer.drop() }
    }
}
