import MQTTCore
import MQTTPackets
import MQTTStore
import NIOCore

/// The process ends at any instant, and another starts on what the store has kept.
extension World {
    func crash() throws {
        crashes += 1
        try settleStore(taking: true)
        // A commit under way has come to last, or not.
        let through = store.committing.flatMap { random.oneIn(2) ? $0 : nil } ?? store.committed
        note("crash \(crashes): tickets up to \(through) of \(store.ticket) are kept")
        var image = image
        for change in changesSinceImage where change.ticket <= through { image.apply(change.change) }
        reading = []
        for link in links where !link.isGone {
            link.cut(keeping: &random)
            link.isGone = true
            link.toBroker.clear()
        }
        links.removeAll(where: \.isOver)
        pending = []
        loops = Array(repeating: Loop(), count: configuration.loops)
        core = BrokerCore(configuration: configuration)
        store = StoreModel(of: image)
        changesSinceImage = []
        self.image = image
        retained = image.retained.mapValues(\.message.payloadString)
        for client in clients { forget(client, image) }
        try restore(image)
    }

    private func restore(_ image: StoreImage) throws {
        core.restore(image.state, at: now)
        try settleStore()
        try checkFigures()
    }

    /// What the broker had of a client and was not kept.
    private func forget(_ client: SimulatedClient, _ image: StoreImage) {
        client.mayHaveRepetitions = true
        let kept = image.sessions.values.first { $0.clientID == client.name && $0.expiryInterval > 0 }
        client.brokerHolds = Set(kept?.receivedPacketIDs ?? [])
        client.current = [:]
        for wanted in kept?.subscriptions ?? [] {
            client.current[wanted.filter] = SimulatedSubscription(
                wanted.filter,
                wanted.options,
                identifier: wanted.identifier
            )
        }
    }
}
