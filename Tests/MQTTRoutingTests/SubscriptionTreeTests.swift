import MQTTPackets
import MQTTRouting
import Testing

@Suite struct SubscriptionTreeTests {
    private static let table: [(filter: String, topic: String, matches: Bool)] = [
        ("a/#", "a", true), ("a/#", "a/", true), ("a/#", "a/b/c", true), ("a/#", "ab", false), ("a/b", "a", false),
        ("#", "a/b", true), ("#", "/", true), ("#", "$SYS/x", false), ("+/x", "$SYS/x", false), ("+", "$", false),
        ("$SYS/#", "$SYS/x", true), ("$SYS/#", "$SYS", true), ("$SYS/+", "$SYS/x", true), ("+/#", "$SYS", false),
        ("a/+", "a/$x", true), ("a/#", "a/$x", true), ("+", "a", true), ("+", "/a", false), ("/+", "/a", true),
        ("+/+", "/a", true), ("+/a", "/a", true), ("+", "a/", false), ("+/+", "a/", true), ("a/+", "a", false),
        ("a/+", "a/", true), ("+/b/+", "a/b/c", true), ("+/b/+", "a/b", false), ("+/#", "a", true), ("A", "a", false),
        ("//", "//", true), ("//", "/", false), ("a//b", "a//b", true), ("a/+/b", "a//b", true), ("a//b", "a/b", false),
        ("\u{E9}", "e\u{301}", false), (" ", " ", true),
    ]

    @Test(
        "[MQTT-4.7.1-1] [MQTT-4.7.1-2] [MQTT-4.7.2-1] [MQTT-4.7.3-4] a filter matches what section 4.7 says it does",
        arguments: table
    )
    func rules(filter: String, topic: String, matches: Bool) throws {
        var tree = SubscriptionTree(seed: 1)
        _ = tree.insert(
            session: 7,
            filter: try #require(ParsedFilter(filter)),
            options: SubscriptionOptions(),
            identifier: 0
        )
        let bytes = Array(topic.utf8)
        let sessions = tree.match(bytes.span).receivers.map(\.session)
        #expect(sessions == (matches ? [7] : []))
        #expect(Naive.matches(filter, topic) == matches)
    }

    @Test("a tree finds what a naive matcher finds, for random filters and topics")
    func randomMatches() {
        withSeed { generator, seed in
            for _ in 0..<40 {
                var both = TreeAndModel(SeededGenerator(seed: generator.next()), sessions: 12)
                for _ in 0..<150 { both.subscribe() }
                for _ in 0..<100 {
                    if let failure = both.failure(both.random.topic()) {
                        Issue.record("\(failure), seed \(seed)")
                        return
                    }
                }
            }
        }
    }

    @Test("counts, nodes and matches stay right while subscriptions come, change and go, and the last takes all nodes")
    func randomChanges() {
        withSeed { generator, seed in
            for _ in 0..<10 {
                var both = TreeAndModel(SeededGenerator(seed: generator.next()), sessions: 8)
                for step in 0..<600 {
                    // Phases of growing and of shrinking, so that numbers are used again.
                    if both.random.chance(step / 100 % 2 == 0 ? 75 : 30) {
                        both.subscribe()
                    } else {
                        both.unsubscribe()
                    }
                    let failure = step % 5 == 0 ? both.failure(both.random.topic()) : nil
                    guard failure == nil, both.tree.count == both.model.all.count,
                        both.tree.nodeCount == both.model.nodeCount
                    else {
                        Issue.record("step \(step): \(failure ?? "counts"), seed \(seed)")
                        return
                    }
                }
                while !both.model.all.isEmpty { both.unsubscribe() }
                #expect(both.tree.nodeCount == 1, "seed \(seed)")
                #expect(both.tree.count == 0, "seed \(seed)")
                #expect(both.failure("a") == nil, "seed \(seed)")
            }
        }
    }

    @Test("levels are still found after any of those that stand near them in the edge table have gone")
    func edgeDeletion() throws {
        try withSeed { generator, seed in
            var tree = SubscriptionTree(seed: generator.next())
            var numbers: [(topic: [UInt8], number: Int32)] = []
            for at in 0..<3_000 {
                let text = "d\(at % 50)/\(at)"
                let number = tree.insert(
                    session: Int32(at),
                    filter: try #require(ParsedFilter(text)),
                    options: SubscriptionOptions(),
                    identifier: 0
                )
                numbers.append((Array(text.utf8), number))
            }
            numbers.shuffle(using: &generator)
            while let (gone, number) = numbers.popLast() {
                let session = tree.subscriptions[Int(number)].session
                let before = tree.match(gone.span).receivers.map(\.session)
                tree.remove(number)
                let after = tree.match(gone.span)
                #expect(before == [session] && after.isEmpty, "seed \(seed)")
                guard numbers.count % 150 == 0 else { continue }
                let lost = numbers.filter { tree.match($0.topic.span).receivers.count != 1 }
                #expect(lost.isEmpty, "seed \(seed)")
            }
            #expect(tree.nodeCount == 1)
        }
    }

    @Test(
        "[MQTT-3.3.4-2] [MQTT-3.3.4-4] overlapping subscriptions are one receiver: highest QoS, all identifiers"
    )
    func overlapping() throws {
        var tree = SubscriptionTree(seed: 2)
        for (filter, qos, identifier) in [
            ("a/#", QoS.atMostOnce, 3), ("a/+", .exactlyOnce, 0), ("+/b", .atLeastOnce, 5),
        ] {
            _ = tree.insert(
                session: 1,
                filter: try #require(ParsedFilter(filter)),
                options: SubscriptionOptions(qos: qos, retainAsPublished: qos == .atLeastOnce),
                identifier: UInt32(identifier)
            )
        }
        let topic = Array("a/b".utf8)
        let route = tree.match(topic.span)
        let receiver = try #require(route.receivers.first)
        #expect(route.receivers.count == 1)
        #expect(receiver.qos == .exactlyOnce)
        #expect(receiver.retainAsPublished)
        #expect(receiver.scope == .always)
        #expect(route.identifiers(of: receiver).sorted() == [3, 5])
    }

    @Test("[MQTT-3.8.3-3] No Local leaves out a session's own messages, and other subscriptions of it do not")
    func noLocal() throws {
        var tree = SubscriptionTree(seed: 3)
        let topic = Array("a".utf8)
        _ = tree.insert(
            session: 1,
            filter: try #require(ParsedFilter("a")),
            options: SubscriptionOptions(qos: .exactlyOnce, noLocal: true),
            identifier: 1
        )
        let alone = tree.match(topic.span).receivers.map(\.scope)
        #expect(alone == [.unlessPublisher])
        _ = tree.insert(
            session: 1,
            filter: try #require(ParsedFilter("#")),
            options: SubscriptionOptions(qos: .atLeastOnce),
            identifier: 2
        )
        let route = tree.match(topic.span)
        let receivers = route.receivers
        let own = try #require(receivers.first { $0.scope == .ifPublisher })
        let others = try #require(receivers.first { $0.scope == .unlessPublisher })
        #expect(receivers.count == 2)
        #expect(own.qos == .atLeastOnce && route.identifiers(of: own) == [2])
        #expect(others.qos == .exactlyOnce && route.identifiers(of: others).sorted() == [1, 2])
    }
}
