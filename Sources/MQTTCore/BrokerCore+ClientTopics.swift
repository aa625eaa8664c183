import MQTTPackets
import NIOCore

/// Messages about each client, in the topics and with the payloads of aedes and of mosca.
extension BrokerCore {
    /// Publishes what the broker says itself.
    mutating func publishOwn(_ topic: String, _ payload: String, isRetained: Bool = false) {
        let publish = Publish(
            topic: topic,
            payload: ByteBuffer(string: payload),
            qos: .atMostOnce,
            isRetained: isRetained
        )
        self.publish(
            Message(publish, publisher: nil, expiresAt: .max, seed: configuration.seed),
            publisher: Publication.broker
        )
    }

    private mutating func tell(_ what: String, _ payload: String) {
        publishOwn("$SYS/\(configuration.systemTopics.brokerID)/\(what)", payload)
    }

    mutating func heartbeatDue() {
        timers.insert(Timer(due: now + configuration.systemTopics.heartbeatInterval, kind: .heartbeat))
        tell("heartbeat", configuration.systemTopics.brokerID)
    }

    mutating func tellClientCame(_ clientID: String) {
        guard configuration.systemTopics.clientTopics != .none else { return }
        tell("new/clients", clientID)
    }

    mutating func tellClientWent(_ clientID: String) {
        guard configuration.systemTopics.clientTopics != .none else { return }
        tell("disconnect/clients", clientID)
    }

    /// Only what was granted.
    mutating func tellSubscribed(_ subscribe: Subscribe, _ reasonCodes: [ReasonCode], _ clientID: String) {
        guard configuration.systemTopics.clientTopics != .none else { return }
        let granted = zip(subscribe.filters, reasonCodes).filter { !$0.1.isError }.map(\.0)
        switch configuration.systemTopics.clientTopics {
        case .none: return
        case .aedes:
            let subscriptions = granted.map {
                "{\"topic\":\(JSON.string($0.filter)),\"qos\":\($0.options.qos.rawValue)}"
            }
            guard !granted.isEmpty else { return }
            let list = subscriptions.joined(separator: ",")
            tell("new/subscribes", "{\"clientId\":\(JSON.string(clientID)),\"subs\":[\(list)]}")
        case .mosca: for filter in granted { tell("new/subscribes", filter.filter, clientID) }
        }
    }

    mutating func tellUnsubscribed(_ unsubscribe: Unsubscribe, _ reasonCodes: [ReasonCode], _ clientID: String) {
        guard configuration.systemTopics.clientTopics != .none else { return }
        let ended = zip(unsubscribe.filters, reasonCodes).filter { $0.1 == .success }.map(\.0)
        switch configuration.systemTopics.clientTopics {
        case .none: return
        case .aedes:
            guard !ended.isEmpty else { return }
            let list = ended.map(JSON.string).joined(separator: ",")
            tell("new/unsubscribes", "{\"clientId\":\(JSON.string(clientID)),\"subs\":[\(list)]}")
        case .mosca: for filter in ended { tell("new/unsubscribes", filter, clientID) }
        }
    }

    private mutating func tell(_ what: String, _ filter: String, _ clientID: String) {
        tell(what, "{\"clientId\":\(JSON.string(clientID)),\"topic\":\(JSON.string(filter))}")
    }
}
