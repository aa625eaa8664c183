import MQTTPackets
import MQTTRouting
import NIOCore

/// What the fast structures are compared with: sections 4.7 and 4.8 of MQTT 5.0, written down word for word.
enum Naive {
    static func levels(_ text: String) -> [[UInt8]] {
        text.utf8.split(separator: Topics.separator, omittingEmptySubsequences: false).map(Array.init)
    }

    static func matches(_ filter: String, _ topic: String) -> Bool {
        if topic.utf8.first == Topics.dollar, ["+", "#"].contains(filter.prefix(1)) { return false }  // [MQTT-4.7.2-1]
        let topic = levels(topic)
        let filter = levels(filter)
        for (at, level) in filter.enumerated() {
            if level == [Topics.multiLevel] { return true }
            guard at < topic.count, level == [Topics.singleLevel] || level == topic[at] else { return false }
        }
        return topic.count == filter.count
    }
}

/// One subscription of the naive model.
struct NaiveSubscription {
    let session: Int32
    let text: String
    let filter: String
    let group: String?
    var options: SubscriptionOptions
    var identifier: UInt32
}

/// What one session is sent of one message.
struct Delivery: Hashable {
    var qos: QoS
    var retainAsPublished: Bool
    var identifiers: [UInt32]
}

/// The subscriptions of a tree as a plain list, by the number that the tree gave them.
struct NaiveSubscriptions {
    var all: [Int32: NaiveSubscription] = [:]

    /// The nodes that a tree of these filters needs: one for each beginning of a filter, and the root.
    var nodeCount: Int {
        var beginnings: Set<[[UInt8]]> = []
        for subscription in all.values {
            let levels = Naive.levels(subscription.filter)
            for count in 1...levels.count { beginnings.insert(Array(levels.prefix(count))) }
        }
        return beginnings.count + 1
    }

    func number(session: Int32, text: String) -> Int32? {
        all.first { $0.value.session == session && Array($0.value.text.utf8) == Array(text.utf8) }?.key
    }

    /// What a session is sent of a message, or nil; `byItself` where it published the message.
    func delivery(_ topic: String, to session: Int32, byItself: Bool) -> Delivery? {
        let matching = all.values.filter {
            $0.session == session && $0.group == nil && Naive.matches($0.filter, topic)
                && !(byItself && $0.options.noLocal)
        }
        guard let qos = matching.map(\.options.qos).max() else { return nil }
        return Delivery(
            qos: qos,
            retainAsPublished: matching.contains { $0.options.retainAsPublished },
            identifiers: matching.map(\.identifier).filter { $0 > 0 }.sorted()
        )
    }

    /// The shared subscriptions that match: name, filter and members of each.
    func groups(_ topic: String) -> [String: Set<Int32>] {
        var groups: [String: Set<Int32>] = [:]
        for (number, subscription) in all {
            guard let group = subscription.group, Naive.matches(subscription.filter, topic) else { continue }
            groups[group + "/" + subscription.filter, default: []].insert(number)
        }
        return groups
    }
}

/// Random topics and filters over few levels, so that they meet.
struct RandomTopics {
    /// The last two look the same and are not.
    private static let levels = ["", "a", "b", "c", "ab", "a-", "a.", "0", "$", "$SYS", "\u{E9}", "e\u{301}"]

    var generator: SeededGenerator

    mutating func integer(_ bound: Int) -> Int { Int.random(in: 0..<bound, using: &generator) }
    mutating func chance(_ percent: Int) -> Bool { integer(100) < percent }

    private mutating func level() -> String { Self.levels[chance(70) ? integer(5) : integer(Self.levels.count)] }

    mutating func topic() -> String {
        let topic = (0...integer(5)).map { _ in level() }.joined(separator: "/")
        return topic.isEmpty ? "/" : topic
    }

    mutating func filter() -> String {
        var levels = (0...integer(4)).map { _ in chance(30) ? "+" : level() }
        if chance(25) { levels[levels.count - 1] = "#" }
        let filter = levels.joined(separator: "/")
        return filter.isEmpty ? "+" : filter
    }

    mutating func subscriptionText() -> String {
        chance(15) ? "$share/\(["g", "h"][integer(2)])/" + filter() : filter()
    }

    mutating func options() -> SubscriptionOptions {
        SubscriptionOptions(
            qos: QoS(rawValue: UInt8(integer(3))) ?? .atMostOnce,
            noLocal: chance(25),
            retainAsPublished: chance(25)
        )
    }
}

/// A tree and the list that it has to agree with, changed together.
struct TreeAndModel {
    var tree: SubscriptionTree
    var model = NaiveSubscriptions()
    var random: RandomTopics
    let sessions: Int

    init(_ generator: SeededGenerator, sessions: Int) {
        random = RandomTopics(generator: generator)
        tree = SubscriptionTree(seed: random.generator.next())
        self.sessions = sessions
    }

    /// Subscribes at random; a session that has the filter already gets new options instead [MQTT-3.8.4-3].
    mutating func subscribe() {
        let text = random.subscriptionText()
        let session = Int32(random.integer(sessions))
        let options = random.options()
        let identifier = UInt32(random.integer(4))
        if let known = model.number(session: session, text: text) {
            tree.update(known, options: options, identifier: identifier)
            model.all[known]?.options = options
            model.all[known]?.identifier = identifier
            return
        }
        guard let parsed = ParsedFilter(text) else { return }
        let number = tree.insert(session: session, filter: parsed, options: options, identifier: identifier)
        let filter = String(decoding: parsed.filter, as: UTF8.self)
        model.all[number] = NaiveSubscription(
            session: session,
            text: text,
            filter: filter,
            group: parsed.group,
            options: options,
            identifier: identifier
        )
    }

    mutating func unsubscribe() {
        let numbers = model.all.keys.sorted()
        guard !numbers.isEmpty else { return }
        let number = numbers[random.integer(numbers.count)]
        tree.remove(number)
        model.all[number] = nil
    }

    /// What is wrong with the tree's answer for a topic; nil where nothing is.
    func failure(_ topic: String) -> String? {
        let bytes = Array(topic.utf8)
        let route = tree.match(bytes.span)
        for session in 0..<Int32(sessions) {
            for byItself in [false, true] {
                let expected = model.delivery(topic, to: session, byItself: byItself).map { [$0] } ?? []
                let found = Self.deliveries(route, to: session, byItself: byItself)
                if found != expected { return "\(topic), session \(session): \(found) instead of \(expected)" }
            }
        }
        if route.receivers.contains(where: { $0.session < 0 || $0.session >= sessions }) { return "unknown session" }
        return groupFailure(topic, route)
    }

    private static func deliveries(_ route: Route, to session: Int32, byItself: Bool) -> [Delivery] {
        route.receivers.filter {
            $0.session == session && $0.scope != (byItself ? .unlessPublisher : .ifPublisher)
        }.map {
            let identifiers = route.identifiers(of: $0).sorted()
            return Delivery(qos: $0.qos, retainAsPublished: $0.retainAsPublished, identifiers: identifiers)
        }
    }

    private func groupFailure(_ topic: String, _ route: Route) -> String? {
        var found: [String: Set<Int32>] = [:]
        for group in route.groups {
            let members = tree.groups[Int(group)].members
            guard let first = members.first, let filter = model.all[first]?.filter else { return "empty group" }
            let name = String(decoding: tree.groups[Int(group)].name, as: UTF8.self) + "/" + filter
            if found[name] != nil { return "\(topic): group \(name) twice" }
            found[name] = Set(members)
        }
        return found == model.groups(topic) ? nil : "\(topic): groups \(found) instead of \(model.groups(topic))"
    }
}
