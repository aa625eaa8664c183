import MQTTPackets

/// Who acknowledges what a subscription brings at QoS 1 and 2.
public enum AcknowledgementMode: Sendable, Hashable {
    /// The sequence does, as a message is taken from it.
    case whenTaken
    /// The application does, with `MQTTMessage.acknowledge(_:)`.
    case byHand
}

/// A topic filter and what is wanted of it.
public struct TopicSubscription: Sendable, Hashable {
    /// With `+` and `#`, and with `$share/group/` before a shared one (section 4.8.2).
    public var filter: String
    /// Before 5.0 only the QoS.
    public var options: SubscriptionOptions

    /// A filter with all options.
    public init(_ filter: String, options: SubscriptionOptions = SubscriptionOptions()) {
        self.filter = filter
        self.options = options
    }

    /// A filter and the most that its messages are to come with.
    public init(_ filter: String, qos: QoS) { self.init(filter, options: SubscriptionOptions(qos: qos)) }
}

extension MQTTClient {
    /// Subscribes, and gives the messages. Without a connection it waits for one. After a connection was lost the
    /// subscription is made again, where the server has lost the session.
    ///
    /// Where filters of this client overlap, a message goes to each sequence that it matches. A server may send a copy for
    /// each filter (5.0, section 3.3.4; 3.1.1, section 3.3.5): in 5.0 subscription identifiers say whose it is, and only a
    /// sequence whose own filters overlap gets several. Before, nothing tells a copy from a second message of the same
    /// content: then each sequence gets all copies, rather than that one is lost.
    ///
    /// A server has one subscription of a session to a filter (section 3.8.4): where the client subscribes to the same
    /// filter again, the options that were granted last hold for all its sequences.
    ///
    /// - Parameters:
    ///   - subscriptions: the filters, each with its options; shared ones too.
    ///   - acknowledging: when a message of QoS 1 or 2 is acknowledged: as it is taken, or by hand.
    ///   - properties: user properties of SUBSCRIBE in 5.0 (section 3.8.2.1).
    /// - Throws: `subscriptionRefused` where the server refuses a filter; then none of them is left.
    public func subscribe(
        to subscriptions: [TopicSubscription],
        acknowledging: AcknowledgementMode = .whenTaken,
        properties: Properties = Properties()
    ) async throws(MQTTError) -> MQTTSubscription {
        let filters = try WantedFilters(subscriptions.map { .init($0.filter, $0.options) }, properties)
        let buffer = MessageBuffer(
            outbox: outbox,
            bytesMax: configuration.sequenceBytesMax,
            acknowledgesWhenTaken: acknowledging == .whenTaken
        )
        let result = await withTaskCancellationHandler {
            await withCheckedContinuation(isolation: nil) { waiter in
                outbox.perform { $0.subscribe(buffer, filters, waiter) }
                if Task.isCancelled { outbox.perform { $0.cancelSubscription(buffer) } }
            }
        } onCancel: {
            outbox.perform { $0.cancelSubscription(buffer) }
        }
        return MQTTSubscription(buffer, try result.get(), outbox, of: self)
    }

    /// The same for one filter.
    public func subscribe(
        to filter: String,
        qos: QoS = .atMostOnce,
        acknowledging: AcknowledgementMode = .whenTaken
    ) async throws(MQTTError) -> MQTTSubscription {
        try await subscribe(to: [TopicSubscription(filter, qos: qos)], acknowledging: acknowledging)
    }

    /// Subscribes for as long as `body` takes. What was not taken then is discarded.
    @discardableResult
    public func withSubscription<Value>(
        to subscriptions: [TopicSubscription],
        acknowledging: AcknowledgementMode = .whenTaken,
        isolation: isolated (any Actor)? = #isolation,
        _ body: (MQTTSubscription) async throws -> Value
    ) async throws -> Value {
        let subscription = try await subscribe(to: subscriptions, acknowledging: acknowledging)
        let value: Value
        do {
            value = try await body(subscription)
        } catch {
            subscription.end()
            throw error
        }
        try await subscription.unsubscribe()
        subscription.end()
        return value
    }

    /// The same for one filter.
    @discardableResult
    public func withSubscription<Value>(
        to filter: String,
        qos: QoS = .atMostOnce,
        acknowledging: AcknowledgementMode = .whenTaken,
        isolation: isolated (any Actor)? = #isolation,
        _ body: (MQTTSubscription) async throws -> Value
    ) async throws -> Value {
        try await withSubscription(
            to: [TopicSubscription(filter, qos: qos)],
            acknowledging: acknowledging,
            isolation: isolation,
            body
        )
    }

    /// Messages that belong to no subscription of this client: those that a resumed session had subscribed to before.
    /// Call it before `run()`; what comes while there is no such sequence is acknowledged, dropped and counted.
    ///
    /// A second call takes the messages over from the first.
    public func unclaimedMessages(acknowledging: AcknowledgementMode = .whenTaken) -> MQTTSubscription {
        let buffer = MessageBuffer(
            outbox: outbox,
            bytesMax: configuration.sequenceBytesMax,
            acknowledgesWhenTaken: acknowledging == .whenTaken
        )
        outbox.perform { $0.setUnclaimed(buffer) }
        return MQTTSubscription(buffer, [], outbox, of: self)
    }
}
