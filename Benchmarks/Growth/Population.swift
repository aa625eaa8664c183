import MQTTPackets

/// The topics and filters of a fleet of devices: `site/7/device/1234/temperature`.
///
/// The hot topics are published to; all others only stand there. They share the first levels with the hot ones, so that
/// matching passes through them, and do not match them.
enum Population {
    static let hotCount = 1_000
    private static let sites = 1_000

    static func hotTopic(_ number: Int) -> String { "site/\(number % 100)/device/hot\(number)/temperature" }

    static let hotTopics = (0..<hotCount).map(hotTopic)

    /// In an order that is not that of their subscriptions, the same in each run.
    static let shuffledHotTopics: [String] = {
        // 617 and 1,000 have no common factor: each comes once.
        (0..<hotCount).map { hotTopic($0 * 617 % hotCount) }
    }()

    /// Six of ten are for all that a device says, two for one topic, one for all below it, one for any site.
    static func otherFilter(_ number: Int) -> String {
        let device = "site/\(number % sites)/device/\(number)"
        switch (number + number / sites) % 10 {
        case 0...5: return device + "/+"
        case 6...7: return device + "/temperature"
        case 8: return device + "/#"
        default: return "site/+/device/\(number)/status"
        }
    }

    static func retainedTopic(_ number: Int) -> String { "site/\(number % sites)/device/\(number)/state" }

    /// Numbers of others, with hot ones among them at even distances: calls one or the other for each.
    static func mixed(others: Int, other: (Int) throws -> Void, hot: (Int) throws -> Void) rethrows {
        var added = 0
        for number in 0..<others {
            while added * others <= number * hotCount, added < hotCount {
                try hot(added)
                added += 1
            }
            try other(number)
        }
        while added < hotCount {
            try hot(added)
            added += 1
        }
    }
}
