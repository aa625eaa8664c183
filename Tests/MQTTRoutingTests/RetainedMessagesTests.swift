import MQTTPackets
import MQTTRouting
import NIOCore
import Testing

/// The retained messages, and a dictionary that they have to agree with.
private struct RetainedAndModel {
    var retained = RetainedMessages()
    var model: [[UInt8]: Message] = [:]

    mutating func set(_ topic: String, payload: String) {
        let message = Message(Publish(topic: topic, payload: ByteBuffer(string: payload), isRetained: true))
        retained.set(message)
        model[Array(topic.utf8)] = message
    }

    /// Whether what was removed is what was there.
    mutating func remove(_ topic: [UInt8]) -> Bool {
        retained.remove(topic.span) === model.removeValue(forKey: topic)
    }

    /// In the order that the type promises: `/` before all other bytes.
    func topics(matching filter: String) -> [[UInt8]] {
        let matching = model.keys.filter { Naive.matches(filter, String(decoding: $0, as: UTF8.self)) }
        return matching.sorted(by: Self.precedes)
    }

    static func precedes(_ left: [UInt8], _ right: [UInt8]) -> Bool {
        left.map { $0 == Topics.separator ? 0 : $0 }.lexicographicallyPrecedes(
            right.map { $0 == Topics.separator ? 0 : $0 }
        )
    }

    /// All topics that pages of random budgets come to; `between` is called between two of them. Nil: without an end.
    func pages(
        _ filter: String,
        _ random: inout RandomTopics,
        between: (inout RetainedMessages) -> Void = { _ in }
    ) -> [[UInt8]]? {
        var retained = retained
        var key: [UInt8] = []
        var found: [[UInt8]] = []
        for _ in 0..<(retained.count * 4 + 100) {
            var budget = 1 + random.integer(4)
            search: while true {
                switch retained.next(after: key, matching: Naive.levels(filter), budget: &budget) {
                case .exhausted: return found
                case .found(let retained):
                    key = Array(retained.message.topic.utf8)
                    found.append(key)
                case .more(let next):
                    key = next
                    break search
                }
            }
            between(&retained)
        }
        return nil
    }
}

@Suite struct RetainedMessagesTests {
    @Test("[MQTT-3.3.1-5] what was set last is there, what was removed is not, on thousands of random topics")
    func operations() {
        withSeed { generator, seed in
            var random = RandomTopics(generator: generator)
            var both = RetainedAndModel()
            for step in 0..<20_000 {
                let topic = random.chance(70) ? "n/\(random.integer(3_000))" : random.topic()
                let bytes = Array(topic.utf8)
                var isRight = true
                if random.chance(60) {
                    both.set(topic, payload: String(repeating: "x", count: random.integer(40)))
                    isRight = both.retained.get(bytes.span)?.version == both.retained.version
                } else {
                    isRight = both.remove(bytes) && both.retained.get(bytes.span) == nil
                }
                let other = Array("n/\(random.integer(3_000))".utf8)
                isRight = isRight && both.retained.get(other.span)?.message === both.model[other]
                guard isRight, both.retained.count == both.model.count else {
                    Issue.record("step \(step), \(topic), seed \(seed)")
                    return
                }
            }
            #expect(both.retained.bytesHeld == both.model.values.reduce(0) { $0 + $1.bytesHeld }, "seed \(seed)")
            for topic in both.model.keys.shuffled(using: &generator) {
                let isRight = both.remove(topic)
                #expect(isRight, "seed \(seed)")
            }
            #expect(both.retained.count == 0)
            #expect(both.retained.bytesHeld == 0)
            let pages = both.pages("#", &random)
            #expect(pages == [])
        }
    }

    @Test("each message has a version of its own, and later ones have higher ones")
    func versions() {
        var both = RetainedAndModel()
        #expect(both.retained.version == 0)
        both.set("a", payload: "1")
        both.set("b", payload: "2")
        both.set("a", payload: "3")
        let topics = [Array("a".utf8), Array("b".utf8)]
        let versions = topics.map { both.retained.get($0.span)?.version }
        #expect(versions == [3, 2])
        #expect(both.retained.version == 3)
    }

    @Test("pages of any size come to exactly the topics that match, in order, for random filters")
    func paging() {
        withSeed { generator, seed in
            var random = RandomTopics(generator: generator)
            var both = RetainedAndModel()
            for _ in 0..<1_500 { both.set(random.topic(), payload: "x") }
            for at in 0..<1_200 { both.set("a/\(at)/b", payload: "x") }
            for _ in 0..<300 {
                let filter = random.filter()
                let found = both.pages(filter, &random)
                guard found == both.topics(matching: filter) else {
                    let topics = found.map { $0.map { String(decoding: $0, as: UTF8.self) } }
                    Issue.record("\(filter): \(topics.map { "\($0)" } ?? "no end"), seed \(seed)")
                    return
                }
            }
        }
    }

    @Test("a topic that is there throughout comes exactly once, whatever comes and goes between the pages")
    func pagingWithChanges() {
        withSeed { generator, seed in
            var random = RandomTopics(generator: generator)
            var both = RetainedAndModel()
            for _ in 0..<400 { both.set(random.topic(), payload: "x") }
            for _ in 0..<100 {
                let filter = random.filter()
                let stable = Set(both.topics(matching: filter))
                var changes = random
                let found = both.pages(filter, &random) { retained in
                    for _ in 0..<4 {
                        let topic = changes.topic()
                        guard both.model[Array(topic.utf8)] == nil else { continue }
                        let bytes = Array(topic.utf8)
                        if changes.chance(50) {
                            retained.set(Message(Publish(topic: topic, payload: ByteBuffer(string: "y"))))
                        } else {
                            retained.remove(bytes.span)
                        }
                    }
                }
                guard let found else {
                    Issue.record("\(filter): no end, seed \(seed)")
                    return
                }
                let missing = stable.subtracting(found)
                #expect(missing.isEmpty, "\(filter), seed \(seed)")
                #expect(zip(found, found.dropFirst()).allSatisfy(RetainedAndModel.precedes), "\(filter), seed \(seed)")
                let wrong = found.filter { !Naive.matches(filter, String(decoding: $0, as: UTF8.self)) }
                #expect(wrong.isEmpty, "\(filter), seed \(seed)")
            }
        }
    }

    @Test("a search does not look at each topic that cannot match")
    func skipping() {
        var both = RetainedAndModel()
        for at in 0..<10_000 { both.set("a/\(at)", payload: "x") }
        both.set("b/1", payload: "x")
        for filter in ["b/+", "b/#", "+/1/#", "z"] {
            var budget = 10
            var key: [UInt8] = []
            while case .found(let retained) = both.retained.next(
                after: key,
                matching: Naive.levels(filter),
                budget: &budget
            ) {
                key = Array(retained.message.topic.utf8)
            }
            #expect(budget > 0, "\(filter)")
        }
    }

    @Test("a single filter's answer is the naive matcher's")
    func matches() {
        withSeed { generator, seed in
            var random = RandomTopics(generator: generator)
            for _ in 0..<20_000 {
                let topic = random.topic()
                let filter = random.filter()
                let bytes = Array(topic.utf8)
                guard RetainedMessages.matches(bytes.span, Naive.levels(filter)) == Naive.matches(filter, topic) else {
                    Issue.record("\(filter), \(topic), seed \(seed)")
                    return
                }
            }
        }
    }
}
