import MQTTCore

extension MQTTBroker {
    /// The sessions with the longest queues, the longest first; then those that have lost the most.
    public func largestQueues(_ count: Int = 10) -> [SessionQueue] {
        var largest: [SessionQueue] = []
        var page = 0
        while let queues = core.withLock({ [page] core, _ in core.queues(page: page) }) {
            largest = (largest + queues).sorted {
                ($0.messages, $0.dropped.total) > ($1.messages, $1.dropped.total)
            }
            largest = Array(largest.prefix(count))
            page += 1
        }
        return largest
    }

    /// The topics with the most messages in the time to come, the busiest first. Topics that were not busy before may
    /// be missing.
    public func busiestTopics(_ count: Int = 10, during time: Duration = .seconds(1)) async throws -> [TopicRate] {
        _ = takeTopicCounts()
        let began = ContinuousClock.now
        try await Task.sleep(for: time)
        let counts = takeTopicCounts()
        let seconds = (ContinuousClock.now - began) / .seconds(1)
        return counts.sorted { $0.count > $1.count }.prefix(count).map {
            TopicRate(topic: $0.topic, messagesPerSecond: Double($0.count) / seconds)
        }
    }

    private func takeTopicCounts() -> [TopicCount] {
        var counts: [TopicCount] = []
        var page = 0
        while let taken = core.withLock({ [page] core, _ in core.takeTopicCounts(page: page) }) {
            counts += taken
            page += 1
        }
        return counts
    }
}

/// How often messages to a topic came.
public struct TopicRate: Sendable {
    /// The topic's name.
    public let topic: String
    /// Messages a second.
    public let messagesPerSecond: Double
}
