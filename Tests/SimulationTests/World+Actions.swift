import MQTTPackets
import NIOCore

/// What clients do of their own accord.
extension World {
    func act() throws {
        let client = random.pick(clients)
        guard client.link != nil else { return try connectAgain(client) }
        guard client.isUp else {
            if random.oneIn(12) { try part(client) }
            return
        }
        switch random.below(100) {
        case 0..<70:
            if client.plan.publishes && client.unacknowledged.count < 30 { publishSomething(client) }
        case 70..<84: if client.plan.isWild { changeSubscriptions(client) }
        case 84..<88: ping(client)
        default: try part(client)
        }
    }

    private func connectAgain(_ client: SimulatedClient) throws {
        let startsClean = client.plan.isWild && !client.plan.keepsSession && random.oneIn(8)
        try connect(client, cleanStart: startsClean ? true : nil)
    }

    /// The connection ends, in one of the ways that there are.
    private func part(_ client: SimulatedClient) throws {
        guard let link = client.link else { return }
        switch random.below(10) {
        case 0..<4:
            note("\(link.address) of \(client.name) is cut")
            link.cut(keeping: &random)
        case 4..<7:
            // A second connection, while the broker still has the first.
            try connect(client)
        case 7 where client.isUp && client.plan.connect.version == .v5:
            note("\(client.name) leaves and wants its will published")
            client.session.disconnect(ReasonCode(rawValue: 4))
            flush(client)
            leave(client)
        case 8
        where client.isUp && client.plan.isWild && client.plan.connect.sessionExpiryInterval > 0
            && !client.plan.keepsSession && client.plan.connect.version == .v5:
            note("\(client.name) leaves, with another session expiry")
            var properties = Properties()
            properties[integer: .sessionExpiryInterval] = UInt32(random.below(3))
            client.session.disconnect(properties: properties)
            flush(client)
            leave(client)
        default:
            guard client.isUp else { return }
            note("\(client.name) leaves")
            client.session.disconnect()
            flush(client)
            leave(client)
        }
    }

    func publishSomething(_ client: SimulatedClient) {
        var topic = random.pick(SimulatedSubscription.topics)
        if client.plan.connect.version == .v5 && random.oneIn(40) { topic = "$SYS/" + topic }
        let sizes = [0, 3, 20, 100, 300, 1_100, 3_000]
        let padding = ByteBuffer(repeating: UInt8(ascii: "."), count: sizes[min(random.below(7), random.below(7))] + 1)
        var publish = Publish(
            topic: topic,
            payload: padding,
            qos: random.pick(QoS.allCases),
            isRetained: random.oneIn(4)
        )
        if publish.isRetained && random.oneIn(5) { publish.payload = ByteBuffer() }
        if client.plan.connect.version == .v5 {
            if random.oneIn(8) && !publish.isRetained { publish.properties[integer: .messageExpiryInterval] = 1 }
            if random.oneIn(4) { publish.properties.appendUserProperty("name", "value \(random.below(100))") }
            if random.oneIn(6) { publish.properties[string: .contentType] = "text" }
        }
        self.publish(publish, by: client)
    }

    private func changeSubscriptions(_ client: SimulatedClient) {
        if random.oneIn(2), let old = client.subscriptions.last {
            note("\(client.name) unsubscribes from \(old.filter)")
            _ = client.session.unsubscribe([old.filter, random.pick(SimulatedSubscription.filters)])
            return flush(client)
        }
        let version = client.plan.connect.version
        let identifier = version == .v5 && random.oneIn(3) ? UInt32(client.subscriptions.count + 1) : 0
        subscribe(client, randomSubscriptions(count: 1 + random.below(3), version, identifier, mayShare: true))
    }

    func randomSubscriptions(
        count: Int,
        _ version: ProtocolVersion,
        _ identifier: UInt32,
        mayShare: Bool = false
    ) -> [SimulatedSubscription] {
        (0..<count).map { _ in
            let filter = random.pick(SimulatedSubscription.filters)
            var options = SubscriptionOptions(qos: random.pick(QoS.allCases))
            if mayShare && random.oneIn(6) {
                return SimulatedSubscription("$share/g/" + filter, options, identifier: identifier)
            }
            if version == .v5 {
                options.noLocal = random.oneIn(4)
                options.retainAsPublished = random.oneIn(3)
                options.retainHandling = random.oneIn(6) && mayShare ? .ifNew : .always
            }
            return SimulatedSubscription(filter, options, identifier: identifier)
        }
    }
}
