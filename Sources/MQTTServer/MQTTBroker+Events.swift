import MQTTCore

extension MQTTBroker {
    /// What happens from now on, up to 10,000 events that are not read yet.
    ///
    /// Each call begins a reader of its own, which has all events in order and ends when `run()` has returned or thrown.
    /// While there is none, events cost nothing.
    public var events: BrokerEvents { events(buffering: 10_000) }

    /// What happens from now on. A reader that is slower loses its oldest events beyond `count`, and is told how many with
    /// `BrokerEvent.lost` in their place.
    ///
    /// An event keeps the message that it is about in memory.
    public func events(buffering count: Int) -> BrokerEvents { hub.events(buffering: count) }
}

/// The events of a broker, for one reader.
public struct BrokerEvents: AsyncSequence, Sendable {
    /// An event and its number.
    typealias Numbered = (number: UInt64, event: BrokerEvent)

    private let stream: AsyncStream<Numbered>
    private let first: UInt64

    init(_ stream: AsyncStream<Numbered>, from first: UInt64) {
        self.stream = stream
        self.first = first
    }

    /// The one reader; a second iterator takes events from the first.
    public func makeAsyncIterator() -> Iterator { Iterator(events: stream.makeAsyncIterator(), next: first) }

    /// Counts what was lost from one event to the next.
    public struct Iterator: AsyncIteratorProtocol {
        var events: AsyncStream<Numbered>.Iterator
        /// The number of the next event.
        var next: UInt64
        var afterLoss: BrokerEvent?

        /// The next event; nil once the broker has ended, or where the task is cancelled.
        public mutating func next(isolation actor: isolated (any Actor)? = #isolation) async -> BrokerEvent? {
            if let event = afterLoss {
                afterLoss = nil
                return event
            }
            while let (number, event) = await events.next(isolation: actor) {
                // What was under way when the reader came happened before.
                guard number >= next else { continue }
                let lost = Int(number - next)
                next = number + 1
                guard lost > 0 else { return event }
                afterLoss = event
                return .lost(lost)
            }
            return nil
        }
    }
}
