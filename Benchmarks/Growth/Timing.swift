/// What is timed at one point of a curve: does its work once and says how many steps that was.
typealias Work = () throws -> Int

enum Timing {
    /// Nanoseconds that `body` takes.
    static func nanoseconds(_ body: () throws -> Void) rethrows -> Double {
        try ContinuousClock().measure(body) / .nanoseconds(1)
    }

    /// Nanoseconds a step of each work, the median of the rounds. All take turns within a round, so that the machine's
    /// mood touches all alike; a first round that nobody counts fills caches.
    static func medians(_ works: [Work], rounds: Int) throws -> [Double] {
        var times = Array(repeating: [Double](), count: works.count)
        for round in 0...rounds {
            for (at, work) in works.enumerated() {
                var steps = 0
                let time = try nanoseconds { steps = try work() }
                if round > 0 { times[at].append(time / Double(steps)) }
            }
        }
        return times.map(median)
    }

    static func median(_ values: [Double]) -> Double {
        let sorted = values.sorted()
        let middle = sorted.count / 2
        return sorted.count % 2 == 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2
    }
}
