import MQTT
import MQTTPackets
import NIOCore

/// What `apus sub` does with the broker.
struct Subscriber: Sendable {
    let command: Sub
    let tool: Tool

    /// Gives each message that is to be shown to `show`, which says whether another is wanted.
    func receive(_ show: @escaping @Sendable (MQTTMessage) async throws -> Bool) async throws {
        let excluded = command.filterOut.compactMap { ParsedFilter($0) }
        // What a session that goes on has kept comes before anything can be asked for.
        func listen(_ client: MQTTClient) -> MQTTSubscription { client.unclaimedMessages() }
        let configuration = try command.connection.configuration()
        try await tool.withClient(configuration, reconnects: true, prepare: listen) { client, kept in
            let subscription = try await subscribe(client)
            try await unsubscribe(client)
            if command.exitAfterSubscribing { return try await leave(client, [kept] + subscription) }
            // The first sequence ends here; what stands in it came before.
            let others = client.unclaimedMessages()
            let handler = Handler(command: command, client: client, excluded: excluded, show: show)
            for await message in kept {
                guard try await handler.handle(message) else {
                    return try await leave(client, [kept, others] + subscription)
                }
            }
            try await withThrowingTaskGroup(of: Void.self) { tasks in
                for sequence in [others] + subscription {
                    tasks.addTask {
                        for await message in sequence { guard try await handler.handle(message) else { return } }
                    }
                }
                try await tasks.next()
                tasks.cancelAll()
            }
            try await leave(client, [kept, others] + subscription)
        }
    }

    /// One sequence, or none where nothing is asked for.
    private func subscribe(_ client: MQTTClient) async throws -> [MQTTSubscription] {
        guard !command.filters.isEmpty else { return [] }
        var options = SubscriptionOptions(qos: command.qos)
        options.retainAsPublished = command.retainAsPublished
        let wanted = command.filters.map { [options] in TopicSubscription($0, options: options) }
        let properties = command.connection.property.properties(of: .subscribe)
        let subscription = try await tool.answered { try await client.subscribe(to: wanted, properties: properties) }
        for grant in subscription.grants { tool.debug("subscribed to \(grant.filter): \(grant.reasonCode)") }
        return [subscription]
    }

    private func unsubscribe(_ client: MQTTClient) async throws {
        guard !command.unsubscribe.isEmpty else { return }
        let properties = command.connection.property.properties(of: .unsubscribe)
        let filters = command.unsubscribe
        try await tool.answered { try await client.unsubscribe(from: filters, properties: properties) }
        for filter in filters { tool.debug("unsubscribed from \(filter)") }
    }

    /// Released before the client has left, the sequences would acknowledge what nobody has seen, and unsubscribe.
    private func leave(_ client: MQTTClient, _ sequences: [MQTTSubscription]) async throws {
        try client.disconnect(properties: tool.options.property.properties(of: .disconnect))
        // In a task of its own: also who is cancelled waits.
        await Task { for await event in client.events { if case .closed = event { return } } }.value
        withExtendedLifetime(sequences) {}
    }
}

/// What happens to each message.
private struct Handler: Sendable {
    let command: Sub
    let client: MQTTClient
    let excluded: [ParsedFilter]
    let show: @Sendable (MQTTMessage) async throws -> Bool

    /// Says whether another is wanted.
    func handle(_ message: MQTTMessage) async throws -> Bool {
        if command.retainedOnly && !message.isRetained { return false }
        if excluded.contains(where: { $0.matches(message.topic) }) { return true }
        if message.isRetained {
            if command.removeRetained {
                try await client.publish(ByteBuffer(), to: message.topic, qos: .atLeastOnce, retain: true)
            }
            if command.noRetained { return true }
        } else if command.removeRetained && message.payload.readableBytes == 0 {
            // What made the broker forget comes back, as to every subscriber.
            return true
        }
        return try await show(message)
    }
}

extension ParsedFilter {
    /// Level by level (section 4.7).
    fileprivate func matches(_ topic: String) -> Bool {
        let slash = Topics.separator
        let levels = Array(topic.utf8).split(separator: slash, omittingEmptySubsequences: false)
        let wanted = filter.split(separator: slash, omittingEmptySubsequences: false)
        if topic.utf8.first == Topics.dollar, let first = filter.first,
            [Topics.singleLevel, Topics.multiLevel].contains(first)
        {
            return false
        }
        for (at, level) in wanted.enumerated() {
            if level.first == Topics.multiLevel { return true }
            guard at < levels.count, level.first == Topics.singleLevel || level == levels[at] else { return false }
        }
        return wanted.count == levels.count
    }
}
