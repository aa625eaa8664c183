import MQTTPackets
import MQTTSessions
import Testing

@Suite struct TopicAliasesTests {
    private func use(_ topic: String, _ aliases: inout OutboundAliases) -> OutboundAliases.Use {
        let topic = Array(topic.utf8)
        return aliases.use(topic.span, hash: TopicHash.hash(topic.span, seed: 0))
    }

    private func define(_ alias: UInt16, _ topic: String, _ aliases: inout InboundAliases) -> Bool {
        let topic = Array(topic.utf8)
        return aliases.define(alias, topic.span)
    }

    @Test("[MQTT-3.3.2-8] [MQTT-3.3.2-9] an alias of 0 or above the maximum is not taken")
    func inboundMaximum() {
        var aliases = InboundAliases(maximum: 3)
        #expect(!define(0, "a", &aliases))
        #expect(define(3, "a", &aliases))
        #expect(!define(4, "a", &aliases))
        #expect([0, 1, 3, 4].map { aliases.isWithinMaximum($0) } == [false, true, true, false])
        var none = InboundAliases(maximum: 0)
        #expect(!define(1, "a", &none))
    }

    @Test("an inbound alias has the topic that it was given last, and none before")
    func inbound() {
        var aliases = InboundAliases(maximum: 10)
        #expect(aliases.topic(1) == nil)
        #expect(define(2, "a/b", &aliases))
        #expect(aliases.topic(1) == nil)
        #expect(aliases.topic(2) == Array("a/b".utf8))
        #expect(define(2, "c", &aliases))
        #expect(aliases.topic(2) == Array("c".utf8))
        #expect(aliases.topic(3) == nil)
        #expect(aliases.topic(.max) == nil)
    }

    @Test("a topic gets an alias when it is first sent, and is then replaced by it")
    func outbound() {
        var aliases = OutboundAliases(maximum: 2)
        #expect(use("a", &aliases) == .define(1))
        #expect(use("a", &aliases) == .use(1))
        #expect(use("b", &aliases) == .define(2))
        #expect(use("b", &aliases) == .use(2))
        #expect(use("a", &aliases) == .use(1))
    }

    @Test("[MQTT-3.1.2-26] [MQTT-3.1.2-27] no alias is used where the client allows none")
    func outboundNone() {
        var aliases = OutboundAliases(maximum: 0)
        for _ in 0..<20 { #expect(use("a", &aliases) == .none) }
    }

    @Test("once all aliases are given, every eighth topic without one takes over the oldest")
    func outboundVictims() {
        var aliases = OutboundAliases(maximum: 2)
        _ = use("a", &aliases)
        _ = use("b", &aliases)
        let uses = (0..<16).map { use("new \($0)", &aliases) }
        let none = [OutboundAliases.Use](repeating: .none, count: 7)
        #expect(uses == none + [.define(1)] + none + [.define(2)])
        #expect(use("new 7", &aliases) == .use(1))
        #expect(use("new 15", &aliases) == .use(2))
        #expect(use("a", &aliases) == .none)
    }

    @Test("topics with equal hashes have aliases of their own")
    func equalHashes() {
        var aliases = OutboundAliases(maximum: 4)
        let topics = ["a", "b", "c"].map { Array($0.utf8) }
        let first = topics.map { aliases.use($0.span, hash: 1) }
        let second = topics.map { aliases.use($0.span, hash: 1) }
        #expect(first == [.define(1), .define(2), .define(3)])
        #expect(second == [.use(1), .use(2), .use(3)])
    }

    @Test("the receiving end always comes to the topic that was sent", arguments: [1, 2, 7, 32])
    func bothEnds(maximum: Int) {
        withSeed { generator, seed in
            var outbound = OutboundAliases(maximum: maximum)
            var inbound = InboundAliases(maximum: UInt16(maximum))
            for step in 0..<5_000 {
                // Some topics come again and again, and there are always new ones.
                let isNew = Int.random(in: 0..<3, using: &generator) == 0
                let topic = isNew ? "new/\(step)" : "old/\(Int.random(in: 0..<40, using: &generator))"
                let isRight: Bool
                switch use(topic, &outbound) {
                case .none: isRight = true
                case .define(let alias): isRight = define(alias, topic, &inbound)
                case .use(let alias): isRight = inbound.topic(alias) == Array(topic.utf8)
                }
                guard isRight else {
                    Issue.record("step \(step), \(topic), seed \(seed)")
                    return
                }
            }
        }
    }
}
