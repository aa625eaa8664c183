import DequeModule
import MQTTPackets
import MQTTSessions
import Synchronization

/// Names a message that was enqueued.
public struct PublishID: Sendable, Hashable {
    let value: UInt64
}

/// A message on its way to the event loop.
struct Publication: Sendable {
    typealias Waiter = WaitingTask<Result<ReasonCode, MQTTError>>

    let id: PublishID
    let publish: Publish
    /// Told when the guarantee of the QoS holds; nil where nobody waits.
    let waiter: Waiter?
    /// The waiter is told once the message is stored.
    var awaitsStore = false
    /// Its place among all that the outbox has had.
    var place: UInt64 = 0

    /// What it holds, about.
    var bytesHeld: Int { 160 + publish.topic.utf8.count + publish.payload.readableBytes + publish.properties.bytesHeld }
}

/// What goes from the application's tasks to the client's event loop: appended under a lock, taken in batches.
///
/// The loop is woken once for all there is. It takes messages when it has room for them, everything else at once.
final class Outbox: Sendable {
    typealias Command = @Sendable (ClientDriver) -> Void

    private struct State {
        var publications = Deque<Publication>()
        var bytes = 0
        var lastPlace: UInt64 = 0
        var commands: [Command] = []
        var receipts: [(Receipt, ReasonCode)] = []
        var hasRoomAgain = false
        /// What the loop has in its own queues.
        var queuedMessages = 0
        var queuedBytes = 0
        var isAwake = false
        var isConnected = false
        /// What the server does not take at QoS 0; nil where it takes everything, or is not there.
        var refusesAtMostOnce: (@Sendable (Publish) -> ReasonCode?)?
        var isEnded = false
        var isStoreFull = false
        var wake: @Sendable () -> Void = {}
        var waitingForRoom: [UInt64: CheckedContinuation<Void, Never>] = [:]
    }

    /// What the loop takes over.
    struct Batch {
        var commands: [Command] = []
        var receipts: [(Receipt, ReasonCode)] = []
        var publications = Deque<Publication>()
        var hasRoomAgain = false
    }

    enum Offer {
        case accepted
        /// Wait for room, and offer it again.
        case full
        case refused(MQTTError)
    }

    /// More than this does not gather before the loop has taken it, where publishers can wait.
    private static let bytesAhead = 512 << 10

    private let state = Mutex(State())
    private let lastID = Atomic<UInt64>(0)
    /// Of tasks that wait for room.
    private let waitingCount = Atomic<Int>(0)
    private let limits: MQTTClient.QueueLimits

    init(limits: MQTTClient.QueueLimits) { self.limits = limits }

    func onWake(_ wake: @escaping @Sendable () -> Void) { state.withLock { $0.wake = wake } }

    /// The loop is woken unless it is awake already.
    private func change<Value: Sendable>(_ body: (inout sending State) -> Value) -> Value {
        let (value, wake) = state.withLock { state -> (Value, (@Sendable () -> Void)?) in
            let value = body(&state)
            guard !state.isAwake else { return (value, nil) }
            state.isAwake = true
            return (value, state.wake)
        }
        wake?()
        return value
    }

    // MARK: For tasks

    func perform(_ command: @escaping Command) { change { $0.commands.append(command) } }

    func acknowledge(_ receipt: Receipt, _ reasonCode: ReasonCode) {
        change { $0.receipts.append((receipt, reasonCode)) }
    }

    /// A sequence that was full is not any more.
    func roomMade() { change { $0.hasRoomAgain = true } }

    func nextID() -> PublishID { PublishID(value: lastID.add(1, ordering: .relaxed).newValue) }

    /// `canWait` says whether `full` is of use to the caller; without it the queue's limits alone count.
    func offer(_ publication: Publication, canWait: Bool) -> Offer {
        var dropped: [Publication] = []
        let (offer, wake) = state.withLock { state -> (Offer, (@Sendable () -> Void)?) in
            if state.isEnded { return (.refused(.closed), nil) }
            if let refuses = state.refusesAtMostOnce, publication.publish.qos == .atMostOnce,
                let reasonCode = refuses(publication.publish)
            {
                return (.refused(.publishRefused(reasonCode)), nil)
            }
            if publication.publish.qos == .atMostOnce && !state.isConnected && !limits.keepsAtMostOnce {
                return (.refused(.notConnected), nil)
            }
            if state.isStoreFull && publication.publish.qos != .atMostOnce {
                return (canWait && limits.policy == .wait ? .full : .refused(.queueFull), nil)
            }
            if canWait && state.isConnected && state.bytes >= Self.bytesAhead { return (.full, nil) }
            if isFull(state) {
                switch limits.policy {
                case .wait: return (canWait ? .full : .refused(.queueFull), nil)
                case .refuseNewest: return (.refused(.queueFull), nil)
                case .dropOldest:
                    // Older ones are with the loop, which drops them for those that it takes.
                    while state.publications.count >= limits.messagesMax || state.bytes >= limits.bytesMax,
                        let oldest = state.publications.popFirst()
                    {
                        state.bytes -= oldest.bytesHeld
                        dropped.append(oldest)
                    }
                }
            }
            state.lastPlace += 1
            var placed = publication
            placed.place = state.lastPlace
            state.publications.append(placed)
            state.bytes += publication.bytesHeld
            guard !state.isAwake else { return (.accepted, nil) }
            state.isAwake = true
            return (.accepted, state.wake)
        }
        wake?()
        for publication in dropped {
            if let waiter = publication.waiter {
                waiter.resume(returning: .failure(.dropped))
            } else {
                perform { $0.tell(publication.id, .failure(.dropped)) }
            }
        }
        return offer
    }

    private func isFull(_ state: borrowing State) -> Bool {
        state.publications.count + state.queuedMessages >= limits.messagesMax
            || state.bytes + state.queuedBytes >= limits.bytesMax
    }

    /// Whether the client has.
    var hasEnded: Bool { state.withLock { $0.isEnded } }

    /// Whether tasks wait for room in the queue.
    var hasWaitingTasks: Bool { waitingCount.load(ordering: .relaxed) > 0 }

    /// Returns once there may be room for a message of the QoS, or where the task is cancelled.
    func waitForRoom(_ qos: QoS) async {
        let id = nextID().value
        await withTaskCancellationHandler {
            await withCheckedContinuation(isolation: nil) { (continuation: CheckedContinuation<Void, Never>) in
                // The loop is to know of it: it reads on for who waits, since what makes room may be an answer.
                let isWaiting = change { state in
                    let isFull =
                        state.bytes >= Self.bytesAhead || isFull(state) || (state.isStoreFull && qos != .atMostOnce)
                    guard isFull, !state.isEnded, !Task.isCancelled else { return false }
                    state.waitingForRoom[id] = continuation
                    waitingCount.store(state.waitingForRoom.count, ordering: .relaxed)
                    return true
                }
                if !isWaiting { continuation.resume() }
            }
        } onCancel: {
            let waiter = state.withLock { state in
                let waiter = state.waitingForRoom.removeValue(forKey: id)
                waitingCount.store(state.waitingForRoom.count, ordering: .relaxed)
                return waiter
            }
            waiter?.resume()
        }
    }

    /// Takes back a message that the loop has not taken, and says whether it was; the loop is told of others.
    @discardableResult
    func cancel(_ id: PublishID, because error: MQTTError) -> Bool {
        // The loop is to know of it: there is room again.
        let publication = change { state -> Publication? in
            guard let at = state.publications.firstIndex(where: { $0.id == id }) else { return nil }
            let publication = state.publications.remove(at: at)
            state.bytes -= publication.bytesHeld
            return publication
        }
        guard let publication else {
            perform { $0.cancel(id, because: error) }
            return false
        }
        publication.waiter?.resume(returning: .failure(error))
        return true
    }

    // MARK: For the event loop

    /// What there is; messages only where the loop has room for them, of so many bytes and one more. Without anything
    /// the loop falls asleep.
    func take(publications wantsPublications: Bool, bytesMax: Int) -> Batch {
        let (batch, waiters) = state.withLock { state in
            var batch = Batch(
                commands: state.commands,
                receipts: state.receipts,
                hasRoomAgain: state.hasRoomAgain
            )
            state.commands = []
            state.receipts = []
            state.hasRoomAgain = false
            if wantsPublications && !state.publications.isEmpty {
                takePublications(&state, &batch.publications, bytesMax: bytesMax)
            }
            let hasRoom = !isFull(state) && !state.isStoreFull && state.bytes < Self.bytesAhead
            return (batch, hasRoom ? takeWaiters(&state) : Self.noWaiters)
        }
        for waiter in waiters { waiter.resume() }
        return batch
    }

    /// Whether there is a message that the loop can take; where the store is full, none of QoS 1 and 2.
    private func hasNext(_ state: borrowing State) -> Bool {
        guard state.isStoreFull else { return !state.publications.isEmpty }
        return state.publications.first.map { $0.publish.qos == .atMostOnce } ?? false
    }

    private func takePublications(_ state: inout State, _ taken: inout Deque<Publication>, bytesMax: Int) {
        var bytes = 0
        if state.bytes <= bytesMax && !state.isStoreFull {
            swap(&taken, &state.publications)
            bytes = state.bytes
        } else {
            while bytes < bytesMax, hasNext(state), let publication = state.publications.popFirst() {
                bytes += publication.bytesHeld
                taken.append(publication)
            }
        }
        // Until the loop says what became of them.
        state.queuedMessages += taken.count
        state.queuedBytes += bytes
        state.bytes -= bytes
    }

    /// All messages that the loop can take, and nothing else.
    func takePublications() -> Deque<Publication> {
        state.withLock { state in
            var taken = Deque<Publication>()
            takePublications(&state, &taken, bytesMax: .max)
            return taken
        }
    }

    /// That of the newest message.
    var lastPlace: UInt64 { state.withLock { $0.lastPlace } }

    /// Whether the loop has taken all messages up to that place.
    func isTaken(through place: UInt64) -> Bool {
        state.withLock { state in state.publications.first.map { $0.place > place } ?? true }
    }

    private static let noWaiters: [CheckedContinuation<Void, Never>] = []

    private func takeWaiters(_ state: inout State) -> [CheckedContinuation<Void, Never>] {
        guard !state.waitingForRoom.isEmpty else { return [] }
        defer { state.waitingForRoom = [:] }
        waitingCount.store(0, ordering: .relaxed)
        return Array(state.waitingForRoom.values)
    }

    /// The loop has done what it took. True where it falls asleep: the next change wakes it.
    func rest(publications wantsPublications: Bool) -> Bool {
        state.withLock { state in
            let hasMore =
                !state.commands.isEmpty || !state.receipts.isEmpty || state.hasRoomAgain
                || (wantsPublications && hasNext(state))
            if !hasMore { state.isAwake = false }
            return !hasMore
        }
    }

    /// What the loop holds of messages that were not sent.
    func setQueued(messages: Int, bytes: Int) {
        let waiters = state.withLock { state in
            state.queuedMessages = messages
            state.queuedBytes = bytes
            return isFull(state) ? Self.noWaiters : takeWaiters(&state)
        }
        for waiter in waiters { waiter.resume() }
    }

    /// The store has room only for what lets the queue drain. Gives the messages that do not wait for more.
    func setStoreFull(_ isStoreFull: Bool) -> Deque<Publication> {
        let (waiters, refused) = state.withLock { state in
            state.isStoreFull = isStoreFull
            guard isStoreFull else { return (takeWaiters(&state), Deque<Publication>()) }
            guard limits.policy != .wait else { return (Self.noWaiters, []) }
            let refused = state.publications.filter { $0.publish.qos != .atMostOnce }
            state.publications.removeAll { $0.publish.qos != .atMostOnce }
            state.bytes -= refused.reduce(0) { $0 + $1.bytesHeld }
            return (refused.isEmpty ? Self.noWaiters : takeWaiters(&state), Deque(refused))
        }
        for waiter in waiters { waiter.resume() }
        return refused
    }

    func setConnected(refusingAtMostOnce refuses: (@Sendable (Publish) -> ReasonCode?)?) {
        state.withLock { state in
            state.isConnected = true
            state.refusesAtMostOnce = refuses
        }
    }

    func setDisconnected() {
        state.withLock { state in
            state.isConnected = false
            state.refusesAtMostOnce = nil
        }
    }

    /// Nothing is taken any more. Gives what was not.
    func end() -> Deque<Publication> {
        let (publications, waiters) = state.withLock { state in
            state.isEnded = true
            state.isConnected = false
            defer {
                state.publications = []
                state.bytes = 0
            }
            return (state.publications, takeWaiters(&state))
        }
        for waiter in waiters { waiter.resume() }
        return publications
    }
}
