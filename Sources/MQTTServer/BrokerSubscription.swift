import MQTTCore
import MQTTPackets
import NIOCore

extension MQTTBroker {
    /// Subscribes without a socket. Messages come from the moment on when this returns, retained ones first.
    ///
    /// A message of QoS 1 counts as delivered when the reader takes it; what a slow reader has not taken waits in a queue
    /// under the limits of any session's. At QoS 0 what has no room any more is dropped; both are counted. QoS 2 is as good
    /// as QoS 1 here: on this way no message is lost or doubled.
    ///
    /// With `noLocal` it does not get what host code publishes, but for retained messages. The subscription ends with its
    /// sequence, with the task that reads it, or when the broker ends.
    ///
    /// - Parameters:
    ///   - filter: may be that of a shared subscription, `$share/group/filter`.
    ///   - options: as a client's; QoS 2 becomes 1.
    ///   - count: messages that are handed over before the reader has taken them.
    /// - Throws: `invalidTopic`, or `quotaExceeded` where there are too many connections or sessions.
    public func subscribe(
        to filter: String,
        options: SubscriptionOptions = SubscriptionOptions(qos: .atLeastOnce),
        buffering count: Int = 256
    ) async throws(HostError) -> BrokerSubscription {
        var options = options
        options.qos = min(options.qos, .atLeastOnce)
        let result = try await host.onNextLoop { [options] driver in
            HostConnection.subscribe(driver, filter, options, buffering: max(1, count))
        }
        switch result {
        case .success(let subscription): return subscription
        case .failure(let refusal): throw HostError(refusal.reason, topic: filter)
        }
    }

    /// The same with a QoS alone.
    public func subscribe(to filter: String, qos: QoS) async throws(HostError) -> BrokerSubscription {
        try await subscribe(to: filter, options: SubscriptionOptions(qos: qos))
    }
}

/// The messages of a subscription of host code. It can be iterated once, by one task at a time.
///
/// `Message.qos` is the one that it was delivered with, and `Message.isRetained` says that it stood there before;
/// `Message.publisher` is nil, as subscribers are not told.
public struct BrokerSubscription: AsyncSequence, Sendable {
    private let messages: HostConnection.Producer
    private let reader: HostReader

    init(_ messages: HostConnection.Producer, _ reader: HostReader) {
        self.messages = messages
        self.reader = reader
    }

    /// The one reader.
    public func makeAsyncIterator() -> Iterator { Iterator(messages: messages.makeAsyncIterator(), reader: reader) }

    /// Takes messages one by one.
    public struct Iterator: AsyncIteratorProtocol {
        let messages: HostConnection.Producer.AsyncIterator
        let reader: HostReader

        /// The next message, which counts as delivered; nil once the subscription has ended.
        public mutating func next() async -> Message? {
            guard let next = await messages.next() else {
                // A task that was cancelled before it asked first ends the sequence without a word.
                reader.didTerminate()
                return nil
            }
            reader.taken(next)
            return next.message
        }
    }
}
