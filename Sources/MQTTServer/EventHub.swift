import MQTTCore
import Synchronization

/// Gives the events of the core to all readers in the core's order, whichever loop brings them.
final class EventHub: Sendable {
    private typealias Continuation = AsyncStream<BrokerEvents.Numbered>.Continuation

    private struct State: ~Copyable {
        var readers: [UInt64: Continuation] = [:]
        var lastReader: UInt64 = 0
        /// The number of the next event to be told.
        var next: UInt64 = 0
        /// By the number of their first event: those that came before others that precede them.
        var early: [UInt64: [BrokerEvent]] = [:]
        var isFinished = false
    }

    private let state = Mutex(State())
    private let core: SharedCore

    init(core: SharedCore) { self.core = core }

    /// A reader from now on. It is forgotten when it goes.
    func events(buffering count: Int) -> BrokerEvents {
        let (stream, continuation) = AsyncStream.makeStream(
            of: BrokerEvents.Numbered.self,
            bufferingPolicy: .bufferingNewest(max(1, count))
        )
        let (reader, first) = state.withLock { state -> (UInt64, UInt64) in
            guard !state.isFinished else { return (0, 0) }
            state.lastReader += 1
            state.readers[state.lastReader] = continuation
            // No event that is made from here on passes by: it would have to wait for this lock.
            return (state.lastReader, core.withLock { core, _ in core.beginObserving() })
        }
        guard reader > 0 else {
            continuation.finish()
            return BrokerEvents(stream, from: 0)
        }
        continuation.onTermination = { [weak self] _ in self?.forget(reader) }
        return BrokerEvents(stream, from: first)
    }

    private func forget(_ reader: UInt64) {
        state.withLock { state in
            state.readers[reader] = nil
            if state.readers.isEmpty { core.withLock { core, _ in core.endObserving() } }
        }
    }

    func publish(_ batch: EventBatch) {
        state.withLock { state in
            state.early[batch.first] = batch.events
            while let events = state.early.removeValue(forKey: state.next) {
                for event in events {
                    for reader in state.readers.values { reader.yield((state.next, event)) }
                    state.next += 1
                }
            }
        }
    }

    /// No more events come: what readers have not taken yet they still can.
    func finish() {
        if let last = core.withLock({ core, _ in core.takeObserved() }) { publish(last) }
        let readers = state.withLock { state in
            state.isFinished = true
            return state.readers
        }
        for reader in readers.values { reader.finish() }
    }
}
