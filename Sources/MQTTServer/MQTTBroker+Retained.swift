import MQTTCore
import MQTTPackets

extension MQTTBroker {
    /// The retained messages of all topics that a filter passes, in the order of their topics, level by level.
    ///
    /// They are looked up a page at a time: what changes meanwhile may be there or not.
    ///
    /// - Throws: `invalidTopic` where the filter is none, or one of a shared subscription.
    public func retainedMessages(matching filter: String = "#") throws(HostError) -> RetainedMessagesSequence {
        RetainedMessagesSequence(core: core, levels: try levels(of: filter))
    }

    /// Clears the retained messages of all topics that a filter passes, and returns once that is committed.
    ///
    /// Subscribers are not told, as with an empty payload they would be. What is retained meanwhile may stay.
    ///
    /// - Returns: how many there were.
    @discardableResult
    public func clearRetained(matching filter: String) async throws(HostError) -> Int {
        let levels = try levels(of: filter)
        var count = 0
        var last: UInt64 = 0
        var key: [UInt8]? = []
        while let after = key {
            let (messages, next) = core.withLock { core, now in
                core.retainedMessages(matching: levels, after: after, at: now)
            }
            let cleared = try host.turn { core, now in core.clearRetained(messages, at: now) }
            count += cleared.count
            if cleared.count > 0 { last = cleared.ticket }
            key = next
            // Between two pages it is others' turn.
            await Task.yield()
        }
        try await host.wait(for: last)
        return count
    }

    private func levels(of filter: String) throws(HostError) -> [[UInt8]] {
        guard let parsed = ParsedFilter(filter), parsed.group == nil else { throw .invalidTopic(filter) }
        return parsed.filter.split(separator: Topics.separator, omittingEmptySubsequences: false).map(Array.init)
    }
}

/// Retained messages, a page at a time.
public struct RetainedMessagesSequence: AsyncSequence, Sendable {
    let core: SharedCore
    let levels: [[UInt8]]

    /// From the first topic on.
    public func makeAsyncIterator() -> Iterator { Iterator(core: core, levels: levels) }

    /// Where a reader is.
    public struct Iterator: AsyncIteratorProtocol {
        let core: SharedCore
        let levels: [[UInt8]]
        /// The last first.
        var page: [Message] = []
        var key: [UInt8]? = []

        /// The message of the next topic; nil behind the last.
        public mutating func next(isolation actor: isolated (any Actor)? = #isolation) async -> Message? {
            while page.isEmpty, let after = key {
                let (messages, next) = core.withLock { [levels] core, now in
                    core.retainedMessages(matching: levels, after: after, at: now)
                }
                page = messages.reversed()
                key = next
                if page.isEmpty { await Task.yield() }
            }
            return page.popLast()
        }
    }
}
