import DequeModule
import MQTTSessions
import Synchronization

/// Which of the sequences that have a message have acknowledged it.
final class SharedAcknowledgement: Sendable {
    private let open: Mutex<Set<Int>>

    init(_ count: Int) { open = Mutex(Set(0..<count)) }

    /// Whether that was the last. Each counts once.
    func isLast(_ sequence: Int) -> Bool { open.withLock { $0.remove(sequence) != nil && $0.isEmpty } }
}

/// Messages in the order in which they came, in chunks: a burst that is large moves in as it is.
///
///      front                  behind
///     ┌─────┬─────┬───┬───┐  ┌───┬───┬───┐  ┌───┬───┐
///     │ nil │ nil │ m │ m │  │ m │ m │ m │  │ m │ m │
///     └─────┴─────┴───┴───┘  └───┴───┴───┘  └───┴───┘
///                   ▲ next
struct MessageChunks {
    /// A smaller burst is moved message by message, into a chunk of at most so many.
    private static let chunkMin = 64
    private static let chunkMax = 1_024

    private var front: [MQTTMessage?] = []
    private var next = 0
    private var behind = Deque<[MQTTMessage?]>()

    var isEmpty: Bool { front.isEmpty }

    /// Takes all of `burst`, none of which is missing.
    mutating func append(_ burst: inout [MQTTMessage?]) {
        if front.isEmpty {
            swap(&front, &burst)
        } else if burst.count >= Self.chunkMin || (behind.last ?? front).count >= Self.chunkMax {
            behind.append(burst)
            burst = []
        } else if behind.isEmpty {
            front += burst
            burst.removeAll(keepingCapacity: true)
        } else {
            behind[behind.count - 1] += burst
            burst.removeAll(keepingCapacity: true)
        }
    }

    mutating func popFirst() -> MQTTMessage? {
        guard next < front.count else { return nil }
        let message = front[next].take()
        next += 1
        if next == front.count { removeFront() }
        return message
    }

    private mutating func removeFront() {
        next = 0
        if let chunk = behind.popFirst() {
            front = chunk
        } else {
            // What was long once does not keep its storage.
            front.removeAll(keepingCapacity: front.capacity <= 256)
        }
    }

    mutating func removeAll() -> [MQTTMessage] {
        defer { self = MessageChunks() }
        return ([front] + behind).joined().compactMap(\.self)
    }
}

/// What stands between the event loop and one sequence: bursts come in whole, messages go out one by one.
final class MessageBuffer: Sendable {
    private struct State {
        var messages = MessageChunks()
        var bytes = 0
        var waiter: (id: UInt64, task: WaitingTask<MQTTMessage?>)?
        var lastWaiter: UInt64 = 0
        var isFinished = false
        /// The event loop waits for room.
        var isFull = false
    }

    private let state = Mutex(State())
    private let bytesMax: Int
    private let outbox: Outbox
    private let acknowledgesWhenTaken: Bool

    init(outbox: Outbox, bytesMax: Int, acknowledgesWhenTaken: Bool) {
        self.outbox = outbox
        self.bytesMax = bytesMax
        self.acknowledgesWhenTaken = acknowledgesWhenTaken
    }

    /// Takes all of `burst`, which holds so many bytes. What is of QoS 0 and has no room any more is dropped where
    /// `dropsExcess`; gives how many were, and whether the buffer is full now: then `outbox.roomMade()` tells when it is
    /// not.
    func append(
        _ burst: inout [MQTTMessage?],
        bytes: Int,
        dropsExcess: Bool
    ) -> (dropped: Int, isFull: Bool) {
        var dropped = 0
        let (resumption, isFull) = state.withLock { state -> ((() -> Void)?, Bool) in
            guard !state.isFinished else {
                // As in `finish`: not once the client has ended.
                if !outbox.hasEnded { for message in burst { message?.acknowledgement?.send(.success) } }
                dropped = burst.count
                burst = []
                return (nil, false)
            }
            state.bytes += bytes
            if dropsExcess && state.bytes > bytesMax { dropped = dropExcess(&burst, &state.bytes) }
            if !burst.isEmpty { state.messages.append(&burst) }
            var resumption: (() -> Void)?
            if let waiter = state.waiter, let message = Self.pop(&state) {
                state.waiter = nil
                acknowledge(message)
                resumption = { waiter.task.resume(returning: message) }
            }
            state.isFull = state.bytes > bytesMax
            return (resumption, state.isFull)
        }
        resumption?()
        return (dropped, isFull)
    }

    /// From where on there is no room, messages of QoS 0 go. `bytes` has the whole burst already.
    private func dropExcess(_ burst: inout [MQTTMessage?], _ bytes: inout Int) -> Int {
        let count = burst.count
        bytes -= burst.reduce(0) { $0 + ($1?.bytesHeld ?? 0) }
        burst.removeAll { message in
            guard let message else { return true }
            let isExcess = message.qos == .atMostOnce && bytes > bytesMax
            if !isExcess { bytes += message.bytesHeld }
            return isExcess
        }
        return count - burst.count
    }

    /// The next message, where there is one.
    func take() -> MQTTMessage? {
        var hasRoom = false
        let next = state.withLock { state in
            let message = Self.pop(&state)
            hasRoom = state.isFull && state.bytes <= bytesMax / 2
            if hasRoom { state.isFull = false }
            return message
        }
        if hasRoom { outbox.roomMade() }
        if acknowledgesWhenTaken, let acknowledgement = next?.acknowledgement { acknowledgement.send(.success) }
        return next
    }

    /// The next message, once there is one; nil at the end, and for a task that is cancelled.
    func next() async -> MQTTMessage? {
        let id = state.withLock { state in
            state.lastWaiter += 1
            return state.lastWaiter
        }
        return await withTaskCancellationHandler {
            await withCheckedContinuation(isolation: nil) { continuation in wait(id, continuation) }
        } onCancel: {
            cancel(id)
        }
    }

    private func wait(_ id: UInt64, _ continuation: CheckedContinuation<MQTTMessage?, Never>) {
        let isWaiting = state.withLock { state in
            guard state.messages.isEmpty, !state.isFinished, !Task.isCancelled else { return false }
            precondition(state.waiter == nil, "a sequence has one reader at a time")
            state.waiter = (id, WaitingTask(continuation))
            return true
        }
        guard !isWaiting else { return }
        continuation.resume(returning: Task.isCancelled ? nil : take())
    }

    private func cancel(_ id: UInt64) {
        let waiter = state.withLock { state -> WaitingTask<MQTTMessage?>? in
            guard let waiter = state.waiter, waiter.id == id else { return nil }
            state.waiter = nil
            return waiter.task
        }
        waiter?.resume(returning: nil)
    }

    var isFull: Bool { state.withLock { $0.isFull } }

    private func acknowledge(_ message: MQTTMessage) {
        if acknowledgesWhenTaken { message.acknowledgement?.send(.success) }
    }

    private static func pop(_ state: inout State) -> MQTTMessage? {
        guard let message = state.messages.popFirst() else { return nil }
        state.bytes -= message.bytesHeld
        return message
    }

    /// Nothing comes any more. What is there can be taken still, unless it is discarded.
    func finish(discarding: Bool) {
        let (waiter, rest) = state.withLock { state in
            state.isFinished = true
            defer { state.waiter = nil }
            guard discarding else { return (state.waiter, [] as [MQTTMessage]) }
            state.bytes = 0
            state.isFull = false
            return (state.waiter, state.messages.removeAll())
        }
        waiter?.task.resume(returning: nil)
        // The client has ended: what was not taken comes again, to the next run.
        guard !outbox.hasEnded else { return }
        // The subscription was given up: what nobody wants any more must not hold back the others.
        for message in rest { message.acknowledgement?.send(.success) }
        if !rest.isEmpty { outbox.roomMade() }
    }
}
