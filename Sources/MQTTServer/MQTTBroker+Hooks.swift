import Logging
import MQTTCore
import NIOCore

extension MQTTBroker {
    /// Calls the hook `published` until the broker ends, and for what is left then within the time of one call.
    func callPublished(_ peers: [LoopDriver.Peer]) -> Task<Void, Never> {
        Task { [published] in await published?.run { loops in for loop in loops { peers[loop].wake() } } }
    }

    func finishPublished(_ calling: Task<Void, Never>) async {
        published?.finish()
        let deadline = Task { [configuration] in
            do {
                try await Task.sleep(for: configuration.hookTimeout)
                calling.cancel()
            } catch {
                return  // All is done.
            }
        }
        if published == nil { calling.cancel() }
        await calling.value
        deadline.cancel()
    }
}

extension CoreConfiguration {
    mutating func add(_ hooks: BrokerHooks) {
        asks = hooks.asks
        tellsPublished = hooks.published != nil
        if let hook = hooks.authorizeForward {
            authorizeForward = { message, receiver in
                let began = NIODeadline.now()
                let isAllowed = hook(message, receiver)
                return (isAllowed, UInt64((NIODeadline.now() - began).nanoseconds))
            }
        }
        if let hook = hooks.selectSharedSubscriber {
            selectSharedSubscriber = { selection in
                let began = NIODeadline.now()
                let clientID = hook(selection)
                return (clientID, UInt64((NIODeadline.now() - began).nanoseconds))
            }
        }
    }

    /// Whether code of the embedding program runs under the lock.
    var hasLockedHooks: Bool { authorizeForward != nil || selectSharedSubscriber != nil }
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
