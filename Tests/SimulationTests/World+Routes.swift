import MQTTPackets

extension World {
    /// Whatever subscriptions came and went: a message to each topic finds who has subscribed to it now, and nobody else.
    func checkRoutes() throws {
        let herald = add("herald", expiry: .max)
        try comeToRest()
        let first = messages.count
        for topic in SimulatedSubscription.topics { publish(topic, .exactlyOnce, by: herald) }
        try comeToRest()
        for number in first..<messages.count { try checkRoute(of: number) }
    }

    private func checkRoute(of number: Int) throws {
        let topic = messages[number].topic
        var due = 0
        var came = 0
        var mayMiss = false
        var groups: Set<String> = []
        for client in clients {
            let matching = client.current.values.filter { $0.matches(topic) }
            let isDue = matching.contains { !$0.isShared }
            let count = client.deliveries[number, default: 0]
            groups.formUnion(matching.filter(\.isShared).map(\.filter))
            // Where CONNACK of a new session is lost, the client goes on with its own state of the session before, and may
            // take a packet identifier for one that it knows.
            mayMiss = mayMiss || client.plan.mayBeForgotten && !matching.isEmpty
            due += isDue ? 1 : 0
            came += count
            try expect(
                !isDue || count > 0 || client.plan.mayBeForgotten,
                "\(client.name) does not get a message to \(topic): \(core.currentStatistics), \(client.plan.connect)"
            )
            try expect(isDue || count == 0 || !groups.isEmpty, "\(client.name) gets a message to \(topic)")
        }
        let all = due + groups.count
        try expect(
            came == all || mayMiss && came < all,
            "a message to \(topic) is delivered \(came) times, not \(due) and \(groups)"
        )
    }
}
