import MQTTCore
import MQTTPackets
import NIOCore

/// What has to hold once everything has come to rest.
extension World {
    func checkNothingIsLeftOver() throws {
        for client in clients {
            try expect(client.isUp, "\(client.name) is not connected")
            try expect(client.session.outbound.isEmpty, "\(client.name) has unacknowledged messages")
            try expect(client.unacknowledged.isEmpty, "\(client.name) waits for \(client.unacknowledged)")
            try expect(client.requested.isEmpty, "\(client.name) waits for a SUBACK")
            try expect(client.link?.monitor.owesNothing == true, "\(client.name) waits for an answer")
            guard let left = core.inspectSession(client.name) else {
                throw SimulationFailure("\(client.name) has no session")
            }
            let isAtRest = left.unfinished == 0 && left.unreleased == 0 && !left.isReplaying && left.isConnected
            try expect(isAtRest, "the broker's end of \(client.name): \(left)")
        }
        try checkFigures()
        try expect(links.count == clients.count, "connections are left: \(links.map(\.description))")
        try expect(core.connectionCount == clients.count, "\(core.connectionCount) connections in the core")
        try expect(core.unsentBytes == 0, "\(core.unsentBytes) bytes are not sent")
        try expect(core.waitingAnswers == 0, "\(core.waitingAnswers) answers wait")
        try expect(core.pausedConnections == 0, "\(core.pausedConnections) connections are not read")
        try checkStore()
    }

    /// The figures that are kept are those that there are; every copy of a message has come to one end or is there.
    func checkFigures() throws {
        let disagreements = core.disagreements
        try expect(disagreements.isEmpty, "figures: \(disagreements.joined(separator: "; "))")
        try observe()
        try checkObserver()
    }

    private func checkStore() throws {
        guard configuration.isDurable else { return }
        try expect(store.retained == retained, "stored as retained: \(store.retained), not \(retained)")
        let persistent = Set(clients.filter { $0.plan.connect.sessionExpiryInterval > 0 }.map(\.name))
        let stored = store.sessions.values.filter { $0.expiryInterval > 0 }
        try expect(Set(stored.map(\.clientID)) == persistent, "stored sessions: \(stored.map(\.clientID))")
        for session in stored {
            try expect(session.queued.isEmpty, "stored messages of \(session.clientID): \(session.queued)")
            try expect(session.received.isEmpty, "stored PUBRECs of \(session.clientID)")
            try expect(session.packetIDs.isEmpty, "stored packet identifiers of \(session.clientID)")
        }
    }

    func checkDeliveries() throws {
        for client in clients where client.plan.isStable {
            for (number, message) in messages.enumerated() where !message.isEarly && !message.isReserved {
                try checkDelivery(number, message, to: client)
            }
            for other in clients { try checkWills(of: other, to: client) }
        }
    }

    private func checkDelivery(_ number: Int, _ message: SimulatedMessage, to client: SimulatedClient) throws {
        guard message.publish.payload.readableBytes > 0 else { return }
        try expect(message.isAcknowledged || message.qos == .atMostOnce, "message \(number) is not acknowledged")
        guard let expected = client.expected(message), expected.qos > .atMostOnce, !message.expires else { return }
        let count = client.deliveries[number, default: 0]
        try expect(count > 0, "\(client.name) does not get message \(number) to \(message.topic), \(expected.qos)")
        guard expected.qos == .exactlyOnce, clients[message.publisher].plan.keepsSession else { return }
        try expect(count == 1, "\(client.name) gets message \(number) \(count) times")
    }

    /// A will goes out once for each connection that did not end in order; one with a delay may be called off. What left
    /// before it was committed goes out again after a crash, but at QoS 2.
    private func checkWills(of other: SimulatedClient, to client: SimulatedClient) throws {
        guard let will = other.plan.connect.will else { return }
        let message = SimulatedMessage(
            publisher: other.index,
            publish: Publish(topic: will.topic, payload: will.payload, qos: will.qos),
            isEarly: false
        )
        let received = client.willsReceived[other.index, default: 0]
        guard let expected = client.expected(message) else {
            return try expect(received == 0, "\(client.name) gets the will of \(other.name)")
        }
        let due = other.willsDue - (crashes == 0 ? 0 : other.willsInDoubt)
        let most = other.willsDue + other.willsBroughtBack
        if expected.qos == .exactlyOnce || expected.qos == .atMostOnce && crashes == 0 {
            try expect(
                received <= most,
                "\(client.name) gets \(received) wills of \(other.name), not \(due) to \(most)"
            )
        }
        if expected.qos > .atMostOnce && will.properties[integer: .willDelayInterval] == nil {
            try expect(received >= due, "\(client.name) gets \(received) wills of \(other.name), \(due) are due")
        }
    }

    /// Each subscription of a stable client brought every retained message of its topics once.
    func checkFirstReplay() throws {
        for client in clients where client.plan.isStable {
            for (number, message) in messages.enumerated() where message.publish.payload.readableBytes > 0 {
                let isThere = retained[message.topic] == String(buffer: message.publish.payload)
                let matching = client.plan.subscriptions.filter {
                    $0.matches(message.topic) && !($0.options.noLocal && message.publisher == client.index)
                }
                let count = client.replayed[number, default: 0]
                guard isThere && !message.isReserved else {
                    try expect(count == 0, "\(client.name) gets \(number), which is not retained")
                    continue
                }
                let certain = matching.count { min($0.options.qos, message.qos) > .atMostOnce }
                try expect(
                    certain <= count && count <= matching.count,
                    "\(client.name) gets retained \(number) \(count) times, it has \(matching.count) subscriptions"
                )
            }
        }
    }

    /// Who subscribes to everything gets exactly what is retained, once.
    func checkRetained() throws {
        var plan = ClientPlan(connect: Connect(version: .v5, clientID: "witness", keepAlive: 0))
        plan.subscriptions = ["#", "$own/#"].map { SimulatedSubscription($0, SubscriptionOptions(qos: .exactlyOnce)) }
        plan.isWild = true
        let witness = add(plan)
        try comeToRest()
        subscribe(witness, plan.subscriptions)
        try comeToRest()
        try expect(witness.deliveries.isEmpty, "the witness gets live messages")
        var seen: [String: String] = [:]
        for (number, count) in witness.replayed {
            try expect(count == 1, "retained message \(number) comes \(count) times")
            seen[messages[number].topic] = String(buffer: payload(ofPublished: number))
        }
        try expect(seen == retained, "retained: \(seen.keys.sorted()), not \(retained.keys.sorted())")
        try expect(core.retainedCount == retained.count, "\(core.retainedCount) retained, not \(retained.count)")
    }

    private func payload(ofPublished number: Int) -> ByteBuffer { messages[number].publish.payload }

    /// Everybody goes, and their sessions with them.
    func endEverything() throws {
        isEnding = true
        for client in clients {
            if client.plan.connect.version < .v5 && client.plan.connect.sessionExpiryInterval > 0 {
                try connect(client, cleanStart: true)
            }
        }
        try comeToRest(reconnecting: false)
        for client in clients where client.isUp {
            var properties = Properties()
            if client.plan.connect.version == .v5 && client.plan.connect.sessionExpiryInterval > 0 {
                properties[integer: .sessionExpiryInterval] = UInt32(random.below(3))
            }
            client.session.disconnect(properties: properties)
            flush(client)
            leave(client)
        }
        try comeToRest(reconnecting: false)
        now += 4_000_000
        try expire()
        try comeToRest(reconnecting: false)
        core.compact()
        try checkFigures()
        try expect(core.currentStatistics.copiesUnfinished == 0, "copies are left")
        try expect(core.sessionCount == 0, "\(core.sessionCount) sessions are left")
        try expect(core.connectionCount == 0, "\(core.connectionCount) connections are left")
        try expect(core.subscriptionCount == 0, "\(core.subscriptionCount) subscriptions are left")
        try expect(core.treeNodeCount == 1, "\(core.treeNodeCount) nodes are left")
        try expect(core.timerCount == 0, "\(core.timerCount) timers are left")
        try expect(store.sessions.isEmpty, "stored sessions are left: \(store.sessions.values.map(\.clientID))")
    }
}
