import MQTTCore

extension MQTTBroker {
    /// Nil where no hook decides of what connections send.
    var hookRunner: HookRunner? {
        guard !hooks.asks.isEmpty else { return nil }
        let timeout = configuration.hookTimeout
        return HookRunner(hooks, limits: limits, timeout: timeout, logger: logger(.hooks))
    }
}

extension BrokerHooks {
    /// What these hooks have to be asked before it is handled.
    var asks: Asks {
        var asks: Asks = []
        // Whoever decides of a packet has to know whose it is.
        if preConnect != nil || authenticate != nil || authorizePublish != nil { asks.insert(.connect) }
        if authorizeSubscribe != nil { asks.formUnion([.connect, .subscribe]) }
        if enhancedAuthentication != nil { asks.formUnion([.connect, .authentication]) }
        return asks
    }
}
