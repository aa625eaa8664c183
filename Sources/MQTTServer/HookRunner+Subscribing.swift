import MQTTCore
import MQTTPackets

/// `authorizeSubscribe`.
extension HookRunner {
    /// The SUBSCRIBE as it is to be handled, and a reason for each filter that is refused.
    struct Subscribing: Sendable {
        var subscribe: Subscribe
        var refused: [ReasonCode?] = []
    }

    func decide(_ subscribe: Subscribe, by client: ClientInfo) async -> Subscribing {
        var decided = Subscribing(subscribe: subscribe)
        var hangs = false
        for (number, wanted) in subscribe.filters.enumerated() {
            // What is no filter is for the core to refuse.
            guard ParsedFilter(wanted.filter) != nil else {
                decided.refused.append(nil)
                continue
            }
            guard !hangs else {
                decided.refused.append(.implementationSpecificError)
                continue
            }
            let request = SubscribeRequest(filter: wanted.filter, options: wanted.options, isResumed: false)
            switch await ask(request, by: client) {
            case .value(.deny(let reason)): decided.refused.append(Self.reason(reason, in: .suback))
            case .value(.allow(let filter, let qosMax)):
                var granted = wanted
                granted.options.qos = min(granted.options.qos, qosMax)
                decided.refused.append(rewrite(&granted, to: filter, by: client))
                decided.subscribe.filters[number] = granted
            case .failed: decided.refused.append(.implementationSpecificError)
            case .timedOut:
                decided.refused.append(.implementationSpecificError)
                hangs = true
            }
        }
        return decided
    }

    /// The reason why not, where the filter is none.
    private func rewrite(_ wanted: inout Subscribe.Filter, to filter: String?, by client: ClientInfo) -> ReasonCode? {
        guard let filter, filter != wanted.filter else { return nil }
        guard let parsed = ParsedFilter(filter) else {
            log("authorizeSubscribe", client, "what it rewrote to is not a topic filter")
            return .implementationSpecificError
        }
        wanted.filter = filter
        // A client cannot ask for both [MQTT-3.8.3-4].
        if parsed.group != nil { wanted.options.noLocal = false }
        return nil
    }

    /// What becomes of the subscriptions of a session that is resumed.
    func decide(
        _ subscriptions: [ResumedSubscription],
        of client: ClientInfo
    ) async -> [[UInt8]: SubscriptionVerdict] {
        var verdicts: [[UInt8]: SubscriptionVerdict] = [:]
        var hangs = false
        for subscription in subscriptions {
            guard !Task.isCancelled else { break }
            var qosMax: QoS?
            if !hangs {
                let request = SubscribeRequest(
                    filter: String(decoding: subscription.filter, as: UTF8.self),
                    options: subscription.options,
                    isResumed: true
                )
                switch await ask(request, by: client) {
                case .value(.allow(_, let most)): qosMax = most
                case .value(.deny), .failed: break
                case .timedOut: hangs = true
                }
            }
            verdicts[subscription.filter] = SubscriptionVerdict(options: subscription.options, qosMax: qosMax)
        }
        return verdicts
    }

    private func ask(_ request: SubscribeRequest, by client: ClientInfo) async -> Outcome<SubscribeDecision> {
        guard let authorizeSubscribe = hooks.authorizeSubscribe else { return .value(.allow) }
        return await call("authorizeSubscribe", for: client) { try await authorizeSubscribe(client, request) }
    }
}
