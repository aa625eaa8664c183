import MQTTPackets
import MQTTRouting
import NIOCore

private let seed: UInt64 = 1
private let topicCount = 10_000

func routingBenchmarks() {
    measure("Routing: a topic that is known", expecting: 1) {
        let tree = makeTree()
        var cache = RouteCache()
        var topics = Rotation(among: 64)
        return { route(topics.next(), &cache, tree) }
    }
    measure("Routing: match among 10,000 filters", expecting: 1) {
        let tree = makeTree()
        var topics = Rotation(among: topicCount)
        return { tree.match(topics.next().span).receivers.count }
    }
    measure("Routing: match among 10,000 filters and three with wildcards", expecting: 4) {
        var tree = makeTree()
        for (session, filter) in ["plant/+/temperature", "plant/#", "+/+/temperature"].enumerated() {
            insert(filter, session: Int32(topicCount + session), into: &tree)
        }
        var topics = Rotation(among: topicCount)
        return { tree.match(topics.next().span).receivers.count }
    }
    measure("Routing: subscribe and unsubscribe among 10,000 filters", expecting: topicCount) {
        var tree = makeTree()
        return {
            tree.remove(insert("plant/press-new/temperature", session: 7, into: &tree))
            return tree.count
        }
    }
    measure("Routing: a retained message among 10,000", expecting: Samples.payload.readableBytes) {
        let retained = makeRetained()
        var topics = Rotation(among: topicCount)
        return { retained.get(topics.next().span)?.message.view.payload.count ?? 0 }
    }
    measure("Routing: 100 of 10,000 retained messages by a wildcard", operations: 100, expecting: 100) {
        let retained = makeRetained()
        let filter = ["plant", "+", "temperature"].map { Array($0.utf8) }
        return { found(100, by: filter, in: retained) }
    }
}

/// Topic after topic, in an order that caches of the processor do not foresee.
private struct Rotation {
    private let topics: [[UInt8]]
    private var at = 0

    init(among count: Int) {
        topics = (0..<count).map { Array("plant/press-\($0 * 7_919 % topicCount)/temperature".utf8) }
    }

    mutating func next() -> [UInt8] {
        at = at + 1 < topics.count ? at + 1 : 0
        return topics[at]
    }
}

/// A session for each topic.
private func makeTree() -> SubscriptionTree {
    var tree = SubscriptionTree(seed: seed)
    for number in 0..<topicCount { insert("plant/press-\(number)/temperature", session: Int32(number), into: &tree) }
    return tree
}

@discardableResult
private func insert(_ filter: String, session: Int32, into tree: inout SubscriptionTree) -> Int32 {
    guard let parsed = ParsedFilter(filter) else { fatalError("no filter: \(filter)") }
    return tree.insert(session: session, filter: parsed, options: SubscriptionOptions(), identifier: 0)
}

private func route(_ topic: [UInt8], _ cache: inout RouteCache, _ tree: SubscriptionTree) -> Int {
    let hash = TopicHash.hash(topic.span, seed: seed)
    return cache.route(of: topic.span, hash: hash, in: tree).receivers.count
}

private func makeRetained() -> RetainedMessages {
    var retained = RetainedMessages()
    for number in 0..<topicCount {
        let publish = Publish(topic: "plant/press-\(number)/temperature", payload: Samples.payload, isRetained: true)
        retained.set(Message(publish))
    }
    return retained
}

/// How many messages the search finds, up to so many.
private func found(_ most: Int, by filter: [[UInt8]], in retained: RetainedMessages) -> Int {
    var budget = 10 * most
    var key: [UInt8] = []
    var count = 0
    while count < most, case .found(let found) = retained.next(after: key, matching: filter, budget: &budget) {
        key = Array(found.message.topic.utf8)
        count += 1
    }
    return count
}
