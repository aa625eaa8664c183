import MQTTPackets

/// A subscription as a client remembers it.
struct SimulatedSubscription {
    let filter: String
    let options: SubscriptionOptions
    let identifier: UInt32
    let isShared: Bool
    private let levels: [String]

    init(_ filter: String, _ options: SubscriptionOptions, identifier: UInt32 = 0) {
        self.filter = filter
        self.options = options
        self.identifier = identifier
        isShared = filter.hasPrefix("$share/")
        let all = filter.split(separator: "/", omittingEmptySubsequences: false).map(String.init)
        levels = isShared ? Array(all.dropFirst(2)) : all
    }

    /// The rules of section 4.7 once more, word by word, so that the core's tree is not its own judge.
    func matches(_ topic: String) -> Bool {
        let names = topic.split(separator: "/", omittingEmptySubsequences: false)
        if topic.hasPrefix("$"), levels[0] == "#" || levels[0] == "+" { return false }
        for (at, level) in levels.enumerated() {
            if level == "#" { return true }
            guard at < names.count, level == "+" || level == names[at] else { return false }
        }
        return levels.count == names.count
    }
}

extension SimulatedSubscription {
    static let topics = ["a", "a/b", "a/b/c", "a/c", "b", "b/c", "x/y/z", "a//c", "/a", "$own/a"]
    static let filters = [
        "#", "a/#", "a/+", "+/b", "+/+/c", "b/c", "a/b/#", "+", "a//c", "x/+/z", "+/+", "/#", "w/#", "$own/#", "a/b",
    ]
}
