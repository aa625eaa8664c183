import DequeModule
import MQTTPackets
import MQTTSessions
import MQTTStore
import NIOCore

/// What a store has kept of an earlier run.
struct KeptSession: Sendable {
    let session: StoredSession?
    let messages: [StoredMessage]
    let broker: StoredBroker?

    /// Messages that are asked for at once.
    private static let pageCount = 1_000
    private static let pageBytes = 4 << 20

    /// Opens the store and reads all that it has.
    init(opening store: any MessageStore) async throws {
        let state = try await store.open()
        broker = state.broker
        session = state.sessions.first
        guard let session else {
            messages = []
            return
        }
        var read: [StoredMessage] = []
        while read.count < session.queuedMessages {
            let page = StoredPage(
                incarnation: session.incarnation,
                number: read.last.map { $0.number + 1 } ?? 0,
                count: Self.pageCount,
                bytes: Self.pageBytes
            )
            guard let messages = try await store.messages([page]).first, !messages.isEmpty else { break }
            read += messages
        }
        messages = read
    }
}

extension ClientDriver {
    /// How long the store has to take the last changes when the client ends.
    private static let lastCommitTime = TimeAmount.seconds(5)
    /// Before a full store is looked at again.
    private static let fullPause = TimeAmount.milliseconds(100)

    /// What there is to say of a store.
    struct Storing {
        let store: any MessageStore
        /// What it kept has been taken up. Before that nothing is published.
        var isReady = false
        var commit: Task<Void, Never>?
        /// Whether there is room again, is looked at now and then.
        var isLooking = false
        /// Those whose senders wait until they are stored, with the tickets of their changes.
        var unstored = Deque<(ticket: UInt64, number: UInt64)>()
        /// Told when nothing is left to be committed.
        var whenDone: WaitingTask<Void>?
    }

    var isReady: Bool { storing?.isReady ?? true }

    /// Takes up what the store has. Gives why that cannot be.
    func restore(_ kept: KeptSession) -> MQTTError? {
        if let session = kept.session, !configuration.clientID.isEmpty, session.clientID != configuration.clientID {
            return .invalidArgument("the store is the client \(session.clientID)'s")
        }
        timeOffset = (kept.broker?.time(atWallClock: configuration.environment.wallClock()) ?? 0) - now
        turn {
            do { try session.restore(kept.session, kept.messages) } catch {
                failure = .storeFailed("its messages and what it says of them do not agree")
                return
            }
            for message in kept.messages {
                pending.append(
                    .init(id: .none, waiter: nil, enqueuedAt: message.queuedAt ?? now),
                    number: message.number
                )
            }
            storing?.isReady = true
            dropAged()
            scheduleAging()
        }
        if !kept.messages.isEmpty {
            logger.info("messages of an earlier run are in the store", metadata: ["messages": "\(kept.messages.count)"])
        }
        return failure
    }

    /// All there is goes in one commit; what comes meanwhile, in the next.
    func commitChanges() {
        guard let store = storing?.store, storing?.commit == nil, failure == nil else { return }
        let (changes, ticket) = session.takeChanges()
        guard !changes.isEmpty else {
            storing?.whenDone?.resume()
            storing?.whenDone = nil
            return
        }
        let broker = StoredBroker(
            time: now,
            wallClock: configuration.environment.wallClock(),
            lastIncarnation: 1,
            lastRetainedVersion: 0
        )
        storing?.commit = Task(executorPreference: store.executor) { [outbox] in
            do {
                try await store.commit([.broker(broker)] + changes)
                let isFull = store.statistics.isFull
                outbox.perform { $0.committed(through: ticket, isFull: isFull) }
            } catch {
                let cause = "\(error)"
                outbox.perform { $0.storeFailed(cause) }
            }
        }
    }

    private func committed(through ticket: UInt64, isFull: Bool) {
        storing?.commit = nil
        session.committed(through: ticket)
        while let first = storing?.unstored.first, first.ticket <= ticket {
            storing?.unstored.removeFirst()
            stored(first.number)
        }
        for publication in outbox.setStoreFull(isFull) { finish(publication, .failure(.queueFull)) }
        if isFull && storing?.isLooking == false {
            storing?.isLooking = true
            schedule(in: Self.fullPause) { $0.lookAtFullStore() }
        }
        handleRest()
        handOver()
    }

    private func lookAtFullStore() {
        guard let store = storing?.store, !isEnding else { return }
        guard store.statistics.isFull else {
            storing?.isLooking = false
            _ = outbox.setStoreFull(false)
            return woken()
        }
        schedule(in: Self.fullPause) { $0.lookAtFullStore() }
    }

    /// Whatever happens to the program now, the message is published.
    private func stored(_ number: UInt64) {
        guard pending[number]?.awaitsStore == true else { return }
        pending.removeWaiter(number)?.waiter.resume(returning: .success(.success))
    }

    private func storeFailed(_ cause: String) {
        storing?.commit = nil
        failure = .storeFailed(cause)
        logger.error("the store has failed", metadata: ["cause": "\(cause)"])
        storing?.whenDone?.resume()
        storing?.whenDone = nil
        end(.abrupt)
    }

    /// Returns once the store has all that it is to have, or has had its time.
    func finishStoring(_ waiter: WaitingTask<Void>) {
        guard storing?.isReady == true, failure == nil else { return waiter.resume() }
        storing?.whenDone = waiter
        schedule(in: Self.lastCommitTime) { driver in
            guard driver.storing?.whenDone != nil else { return }
            driver.storing?.commit?.cancel()
        }
    }
}
