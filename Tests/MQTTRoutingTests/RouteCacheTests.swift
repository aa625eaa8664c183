import MQTTPackets
import MQTTRouting
import Testing

@Suite struct RouteCacheTests {
    @Test("a cached route is the tree's, after any sequence of changes", arguments: [4, 64, 1_024])
    func sameAsTree(places: Int) {
        withSeed { generator, seed in
            var both = TreeAndModel(SeededGenerator(seed: generator.next()), sessions: 8)
            var cache = RouteCache(places: places)
            let topics = (0..<100).map { _ in Array(both.random.topic().utf8) }
            for step in 0..<4_000 {
                if both.random.chance(10) { both.subscribe() }
                if both.random.chance(8) { both.unsubscribe() }
                let topic = topics[both.random.integer(topics.count)]
                let hash = TopicHash.hash(topic.span, seed: seed)
                guard cache.route(of: topic.span, hash: hash, in: both.tree) == both.tree.match(topic.span) else {
                    Issue.record("step \(step): stale, seed \(seed)")
                    return
                }
            }
        }
    }

    @Test("topics whose hashes are equal do not get one another's routes")
    func equalHashes() throws {
        var tree = SubscriptionTree(seed: 4)
        var cache = RouteCache(places: 4)
        for session in 0..<6 {
            _ = tree.insert(
                session: Int32(session),
                filter: try #require(ParsedFilter("t/\(session)")),
                options: SubscriptionOptions(),
                identifier: 0
            )
        }
        for round in 0..<24 {
            let topic = Array("t/\(round * 5 % 6)".utf8)
            let route = cache.route(of: topic.span, hash: 0, in: tree)
            #expect(route.receivers.map(\.session) == [Int32(round * 5 % 6)])
        }
    }

    @Test("topics that come once do not push out those that come again and again")
    func coldTopics() {
        let tree = SubscriptionTree(seed: 6)
        var cache = RouteCache(places: 4)
        func route(_ topic: String) -> Route { cache.route(of: Array(topic.utf8).span, hash: 0, in: tree) }
        let hot = (0..<3).map { route("hot/\($0)") }
        for round in 0..<100 {
            for at in hot.indices { #expect(route("hot/\(at)") === hot[at], "round \(round)") }
            _ = route("cold/\(round)")
        }
    }

    @Test("topics that come again and again take the places of those that came once, and not one another's")
    func hotTopicsAfterCold() {
        let tree = SubscriptionTree(seed: 7)
        var cache = RouteCache(places: 4)
        func route(_ topic: String) -> Route { cache.route(of: Array(topic.utf8).span, hash: 0, in: tree) }
        for round in 0..<50 { _ = route("cold/\(round)") }
        let hot = (0..<4).map { route("hot/\($0)") }
        for at in hot.indices { #expect(route("hot/\(at)") === hot[at]) }
    }

    @Test("a cache never holds more than its bytes, however many topics and receivers come by")
    func bound() throws {
        var tree = SubscriptionTree(seed: 5)
        for session in 0..<40 {
            _ = tree.insert(
                session: Int32(session),
                filter: try #require(ParsedFilter("wide/#")),
                options: SubscriptionOptions(),
                identifier: 1
            )
        }
        var cache = RouteCache(places: 1_024, bytesMax: 20_000)
        var most = 0
        for round in 0..<5_000 {
            let topic = Array((round % 7 == 0 ? "wide/\(round)" : "narrow/\(round)").utf8)
            let route = cache.route(of: topic.span, hash: TopicHash.hash(topic.span, seed: 5), in: tree)
            #expect(route.receivers.count == (round % 7 == 0 ? 40 : 0))
            #expect(cache.bytesHeld <= 20_000)
            most = max(most, cache.bytesHeld)
        }
        #expect(most > 10_000)
    }

    @Test("a change of a filter makes routes stale below its first level alone, or everywhere where that is a wildcard")
    func generations() throws {
        var tree = SubscriptionTree(seed: 6)
        let first = Array("first/x".utf8)
        let second = Array("second/x".utf8)
        let before = (tree.generation(ofTopic: first.span), tree.generation(ofTopic: second.span))
        let number = tree.insert(
            session: 1,
            filter: try #require(ParsedFilter("first/#")),
            options: SubscriptionOptions(),
            identifier: 0
        )
        let inserted = tree.generation(ofTopic: first.span)
        #expect(inserted != before.0)
        let other = tree.generation(ofTopic: second.span)
        #expect(other == before.1)
        tree.update(number, options: SubscriptionOptions(qos: .atLeastOnce), identifier: 0)
        let updated = tree.generation(ofTopic: first.span)
        #expect(updated != inserted)
        tree.remove(number)
        let removed = tree.generation(ofTopic: first.span)
        #expect(removed != updated)
        _ = tree.insert(
            session: 1,
            filter: try #require(ParsedFilter("+/y")),
            options: SubscriptionOptions(),
            identifier: 0
        )
        let wildcard = tree.generation(ofTopic: second.span)
        #expect(wildcard != before.1)
    }
}
