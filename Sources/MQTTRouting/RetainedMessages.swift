import MQTTPackets

/// A topic's retained message and the number that tells it from those before and after it.
package struct Retained: Sendable {
    package let message: Message
    package let version: UInt64
}

/// The retained messages of all topics, in the order of their topics, level by level.
///
///     chunks ─▶ [ a  a/b  a/c … ]  [ f  f/1 … ]  [ t/x … ]      each sorted, at most 512 long
///
/// The order lets a subscription with wildcards be served in pages: a page ends at a topic, and the next one goes on
/// behind it, whatever came and went meanwhile. `/` sorts before every other character, so that a level's topics stand
/// together behind it and a part that cannot match is skipped with one search.
package struct RetainedMessages: Sendable {
    private static let chunkMax = 512

    private var chunks: [[Retained]] = []
    package private(set) var count = 0
    package private(set) var bytesHeld = 0
    private var nextVersion: UInt64 = 1
    /// How many expire at some time, and where the search for those that have goes on.
    private var expiring = 0
    private var sweptTo: [UInt8] = []

    package init() {}

    /// The version of the newest message so far.
    package var version: UInt64 { nextVersion - 1 }

    /// Takes up what the store has kept.
    package mutating func restore(_ message: Message, version: UInt64) {
        set(message, version: version)
        nextVersion = max(nextVersion, version + 1)
    }

    /// Versions up to this one were given before.
    package mutating func restored(version: UInt64) { nextVersion = max(nextVersion, version + 1) }

    package mutating func set(_ message: Message) {
        nextVersion += 1
        set(message, version: nextVersion - 1)
    }

    private mutating func set(_ message: Message, version: UInt64) {
        let retained = Retained(message: message, version: version)
        count += 1
        bytesHeld += message.bytesHeld
        if message.expiresAt != .max { expiring += 1 }
        guard !chunks.isEmpty else {
            chunks = [[retained]]
            return
        }
        let bytes = message.bytes
        let (chunk, at, isThere) = find(bytes.span.extracting(message.view.topic))
        if isThere {
            forget(chunks[chunk][at].message)
            chunks[chunk][at] = retained
            return
        }
        chunks[chunk].insert(retained, at: at)
        if chunks[chunk].count > Self.chunkMax {
            // A chunk that grows at its end is filled in order: splitting it there keeps chunks full.
            let isAppending = at == chunks[chunk].count - 1
            let upper = Array(chunks[chunk][(isAppending ? at : Self.chunkMax / 2)...])
            chunks[chunk].removeLast(upper.count)
            chunks.insert(upper, at: chunk + 1)
        }
    }

    /// What was there, if anything.
    @discardableResult
    package mutating func remove(_ topic: Span<UInt8>) -> Message? {
        let (chunk, at, isThere) = find(topic)
        guard isThere else { return nil }
        let removed = chunks[chunk].remove(at: at)
        if chunks[chunk].isEmpty { chunks.remove(at: chunk) }
        forget(removed.message)
        return removed.message
    }

    private mutating func forget(_ message: Message) {
        count -= 1
        bytesHeld -= message.bytesHeld
        if message.expiresAt != .max { expiring -= 1 }
    }

    /// Looks at the next messages, as many as `count`, takes out those that have expired, and adds them to `removed`.
    package mutating func sweep(now: Int64, count: Int, into removed: inout [Message]) {
        guard expiring > 0, !chunks.isEmpty else { return }
        var (chunk, at, _) = find(sweptTo.span)
        for _ in 0..<count {
            if chunk < chunks.count && at >= chunks[chunk].count {
                chunk += 1
                at = 0
            }
            guard chunk < chunks.count else {
                sweptTo = []
                return
            }
            let message = chunks[chunk][at].message
            guard message.expiresAt <= now else {
                at += 1
                continue
            }
            forget(message)
            removed.append(message)
            chunks[chunk].remove(at: at)
            if chunks[chunk].isEmpty {
                chunks.remove(at: chunk)
                at = 0
            }
        }
        sweptTo = chunk < chunks.count && at < chunks[chunk].count ? Array(chunks[chunk][at].message.topic.utf8) : []
    }

    package func get(_ topic: Span<UInt8>) -> Retained? {
        let (chunk, at, isThere) = find(topic)
        return isThere ? chunks[chunk][at] : nil
    }

    /// How far a search came.
    package enum Search: Sendable {
        case found(Retained)
        /// The budget is used up; the search goes on behind this key.
        case more(key: [UInt8])
        case exhausted
    }

    /// The first message behind `key` whose topic the filter matches. Each step of the budget is one look-up.
    package func next(after key: [UInt8], matching filter: [[UInt8]], budget: inout Int) -> Search {
        var key = key
        var isInclusive = key.isEmpty
        while budget > 0 {
            budget -= 1
            guard let retained = first(from: key, inclusive: isInclusive) else { return .exhausted }
            let bytes = retained.message.bytes
            let topic = bytes.span.extracting(retained.message.view.topic)
            switch Self.compare(topic, to: filter) {
            case .matches: return .found(retained)
            case .skip(let next):
                // What is skipped to may itself be a topic: a page ends at the topic looked at, which does not match.
                guard budget > 0 else { return .more(key: topic.toArray()) }
                key = next
                isInclusive = true
            case .exhausted: return .exhausted
            }
        }
        return .more(key: key)
    }

    private func first(from key: [UInt8], inclusive: Bool) -> Retained? {
        guard !chunks.isEmpty else { return nil }
        var (chunk, at, isThere) = find(key.span)
        if isThere && !inclusive { at += 1 }
        if at >= chunks[chunk].count {
            chunk += 1
            at = 0
        }
        return chunk < chunks.count ? chunks[chunk][at] : nil
    }

    /// Where a topic is, or where it would stand. With no chunks: none.
    private func find(_ topic: Span<UInt8>) -> (chunk: Int, at: Int, isThere: Bool) {
        guard !chunks.isEmpty else { return (0, 0, false) }
        var low = 0
        var high = chunks.count - 1
        while low < high {
            let middle = (low + high + 1) / 2
            if Self.order(topic, chunks[middle][0]) < 0 { high = middle - 1 } else { low = middle }
        }
        let chunk = low
        low = 0
        high = chunks[chunk].count
        while low < high {
            let middle = (low + high) / 2
            let order = Self.order(topic, chunks[chunk][middle])
            if order == 0 { return (chunk, middle, true) }
            if order < 0 { high = middle } else { low = middle + 1 }
        }
        return (chunk, low, false)
    }

    private static func order(_ topic: Span<UInt8>, _ retained: Retained) -> Int {
        let message = retained.message
        let bytes = message.bytes
        return order(topic, bytes.span.extracting(message.view.topic))
    }

    /// Byte order, but `/` before all.
    package static func order(_ left: Span<UInt8>, _ right: Span<UInt8>) -> Int {
        let common = min(left.count, right.count)
        var at = 0
        while at < common {
            if left[at] != right[at] {
                return rank(left[at]) < rank(right[at]) ? -1 : 1
            }
            at &+= 1
        }
        return left.count - right.count
    }

    private static func rank(_ byte: UInt8) -> UInt8 { byte == Topics.separator ? 0 : byte }
}

extension RetainedMessages {
    private enum Comparison {
        case matches
        /// Nothing from here to the key can match.
        case skip(to: [UInt8])
        /// Nothing from here on can match.
        case exhausted
    }

    /// Whether the filter matches the topic, without looking at wildcards in front of `$`.
    package static func matches(_ topic: Span<UInt8>, _ filter: [[UInt8]]) -> Bool {
        if case .matches = compare(topic, to: filter) { true } else { false }
    }

    private static func compare(_ topic: Span<UInt8>, to filter: [[UInt8]]) -> Comparison {
        if topic[0] == Topics.dollar, filter[0] == [Topics.singleLevel] || filter[0] == [Topics.multiLevel] {
            return .skip(to: [Topics.dollar + 1])  // [MQTT-4.7.2-1]
        }
        var at = 0
        for (depth, level) in filter.enumerated() {
            if level == [Topics.multiLevel] { return .matches }
            guard at <= topic.count else {
                // The topic ends above the filter's depth; `a` is also matched by `a/#`.
                return filter[depth] == [Topics.multiLevel] ? .matches : .skip(to: topic.toArray() + [Topics.separator])
            }
            var end = at
            while end < topic.count && topic[end] != Topics.separator { end += 1 }
            if level != [Topics.singleLevel] {
                let order = order(topic.extracting(at..<end), level.span)
                if order < 0 { return .skip(to: topic.extracting(0..<at).toArray() + level) }
                if order > 0 { return behind(topic, levelsEndingAt: at - 1, filter, depth) }
            }
            at = end + 1
        }
        return at > topic.count ? .matches : behind(topic, levelsEndingAt: at - 1, filter, filter.count)
    }

    /// Behind all topics below the first levels of this one, unless those levels are fixed.
    private static func behind(
        _ topic: Span<UInt8>,
        levelsEndingAt end: Int,
        _ filter: [[UInt8]],
        _ depth: Int
    ) -> Comparison {
        guard end > 0 || depth > 0, filter[..<depth].contains([Topics.singleLevel]) else { return .exhausted }
        return .skip(to: topic.extracting(0..<max(0, end)).toArray() + [Topics.separator, 0xFF])
    }
}
