import MQTTPackets

/// The messages of one or more topic filters, in the order in which they came.
///
/// Each message is acknowledged as it is taken from the sequence, unless it was asked for otherwise. Those that nobody
/// takes are not acknowledged: once Receive Maximum of them wait, the server waits too.
///
/// One task reads at a time. The sequence ends when the subscription or the client does. A subscription that is released
/// ends by itself.
///
/// What was not taken of a subscription that ends is given up: it is acknowledged, so that it holds back no others. A
/// program that stops, and is to be given those messages by the next run, ends the client first: then they are not
/// acknowledged, and come again with the session.
public final class MQTTSubscription: AsyncSequence, Sendable {
    /// A message, with its topic.
    public typealias Element = MQTTMessage
    /// It ends, and does not fail: `run()` tells why a client has ended.
    public typealias Failure = Never

    /// What the server granted, in the order of the filters.
    public let grants: [MQTTError.Grant]
    private let buffer: MessageBuffer
    private let outbox: Outbox
    /// The other end of the outbox.
    private let client: MQTTClient

    init(_ buffer: MessageBuffer, _ grants: [MQTTError.Grant], _ outbox: Outbox, of client: MQTTClient) {
        self.buffer = buffer
        self.grants = grants
        self.outbox = outbox
        self.client = client
    }

    deinit { end() }

    /// Takes the messages.
    public struct AsyncIterator: AsyncIteratorProtocol {
        let subscription: MQTTSubscription

        /// The next message, once there is one. Nil at the end, and where the task is cancelled.
        public mutating func next() async -> MQTTMessage? { await next(isolation: nil) }

        /// The same, without leaving the caller's actor.
        public mutating func next(isolation actor: isolated (any Actor)?) async -> MQTTMessage? {
            if let message = subscription.buffer.take() { return message }
            return await subscription.buffer.next()
        }
    }

    /// One task reads at a time.
    public func makeAsyncIterator() -> AsyncIterator { AsyncIterator(subscription: self) }

    /// Ends the subscription, and returns when the server has said so. What has come before can be taken still.
    ///
    /// Filters that other subscriptions of this client share stay with them.
    public func unsubscribe() async throws(MQTTError) {
        let result = await withTaskCancellationHandler {
            await withCheckedContinuation(isolation: nil) { waiter in
                outbox.perform { [buffer] in $0.unsubscribe(buffer, waiter) }
                if Task.isCancelled { cancelUnsubscription() }
            }
        } onCancel: {
            cancelUnsubscription()
        }
        try result.get()
    }

    private func cancelUnsubscription() {
        outbox.perform { [buffer] in $0.cancelUnsubscription(buffer) }
    }

    /// Ends it without waiting; what was not taken is discarded.
    func end() {
        buffer.finish(discarding: true)
        outbox.perform { [buffer] in $0.unsubscribe(buffer, nil) }
    }
}
