import MQTTServer

/// Each thing that the tables of the articles Embedding and From aedes and mosca name. It is compiled, and not run.
enum EmbeddingNames {
    static func names(_ broker: MQTTBroker) async throws {
        let _: [Any] = [
            BrokerEvent.clientConnecting, BrokerEvent.clientConnected, BrokerEvent.clientReady,
            BrokerEvent.clientDisconnected, BrokerEvent.clientError, BrokerEvent.connectionError,
            BrokerEvent.keepAliveTimeout, BrokerEvent.pingReceived, BrokerEvent.published, BrokerEvent.delivered,
            BrokerEvent.subscribed, BrokerEvent.unsubscribed, BrokerEvent.dropped, BrokerEvent.sessionTakenOver,
            BrokerEvent.sessionExpired, BrokerEvent.willSent, BrokerEvent.lost,
        ]
        let _: [AnyKeyPath] = [
            \MQTTBroker.events, \MQTTBroker.clients, \MQTTBroker.statistics,
            \BrokerHooks.preConnect, \BrokerHooks.authenticate, \BrokerHooks.authorizePublish,
            \BrokerHooks.authorizeSubscribe, \BrokerHooks.authorizeForward, \BrokerHooks.published,
            \BrokerConfiguration.addresses, \BrokerConfiguration.brokerID,
            \BrokerConfiguration.clientTopics,
            \BrokerConfiguration.connectTimeout, \BrokerConfiguration.keepAliveMax,
            \BrokerConfiguration.systemTopicsInterval, \Limits.clientIDBytesMax, \Limits.connectBytesMax,
            \Limits.inFlightMax,
        ]
        // MQTTBroker.boundAddresses and MQTTBroker.eventLoops
        _ = try await (broker.boundAddresses, broker.eventLoops)
        let _: Any = MQTTBroker.init(configuration:store:hooks:logger:)
        let _: Any = MQTTBroker.run
        let _: Any = MQTTBroker.accept(_:)
        typealias Properties = MQTTServer.Properties
        let _: (MQTTBroker) -> (String, String, QoS, Bool, Properties) async throws(HostError) -> Void =
            MQTTBroker.publish(_:to:qos:retain:properties:)
        let _: (MQTTBroker) -> (String, String, QoS, Properties, String) async throws(HostError) -> Void =
            MQTTBroker.publish(_:to:qos:properties:clientID:)
        let _: (MQTTBroker) -> (String, QoS) async throws(HostError) -> BrokerSubscription =
            MQTTBroker.subscribe(to:qos:)
        let _: Any = MQTTBroker.subscribe(clientID:to:options:)
        let _: Any = MQTTBroker.unsubscribe(clientID:from:)
        let _: Any = MQTTBroker.disconnect(_:reason:explanation:)
        let _: Any = MQTTBroker.clearQueue(of:)
    }
}
