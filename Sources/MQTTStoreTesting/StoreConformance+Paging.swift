import MQTTPackets
import MQTTStore
import NIOCore

extension StoreConformance {
    static let pagingCases: [Case] = [
        Case("messages are read page by page, from any number on, over gaps") { trial in
            let numbers = [0, 1, 2, 10, 11, 500, 65_534, 65_535, 65_536, 1 << 33, 1 << 33 + 1] as [UInt64]
            try await trial.commit(
                [StoreTrial.began(1)] + numbers.map { StoreTrial.queued($0, 1, StoreTrial.message()) }
            )
            for _ in 0..<2 {
                for number in numbers + numbers.map({ $0 + 1 }) + [.max] {
                    for count in [1, 2, 5, 100] {
                        _ = try await trial.messages(of: 1, from: number, count: count, bytes: .max)
                    }
                }
                try await trial.reopen()
            }
        },
        Case("pages are in the order of numbers, in whatever order the messages were queued") { trial in
            try await trial.commit(StoreTrial.began(1), StoreTrial.began(2))
            for number in [5, 3, 9, 1, 7, 0] as [UInt64] {
                try await trial.commit(
                    StoreTrial.queued(number, 1, StoreTrial.message("t", "\(number)")),
                    StoreTrial.queued(number * 2, 2, StoreTrial.message("u", "\(number)"))
                )
            }
            try await trial.check()
            try await trial.commit(.finished(incarnation: 1, number: 3), .finished(incarnation: 2, number: 18))
        },
        Case("a page ends once it has its bytes") { trial in
            let payload = String(repeating: "x", count: 10_000)
            try await trial.commit(
                [StoreTrial.began(1)] + (0..<20).map { StoreTrial.queued($0, 1, StoreTrial.message("t", payload)) }
            )
            for bytes in [1, 10_000, 10_001, 35_000, 100_000, 199_000, 1_000_000] {
                for number in [0, 7, 19] as [UInt64] {
                    _ = try await trial.messages(of: 1, from: number, count: 100, bytes: bytes)
                }
            }
            _ = try await trial.messages(of: 1, from: 0, count: 3, bytes: 1_000_000)
        },
        Case("a thousand messages in fifty sessions end here and there and are read") { trial in
            var random = SplitMix64(seed: trial.seed)
            try await trial.commit((0..<50).map { StoreTrial.began($0 + 1) })
            for batch in 0..<20 as Range<UInt64> {
                try await trial.commit(
                    (0..<50).map { StoreTrial.queued(batch, $0 + 1, StoreTrial.message("t/\($0)", "\(batch)")) }
                )
                try await trial.commit(
                    (0..<30).map { _ in
                        .finished(incarnation: UInt64(1 + random.below(50)), number: UInt64(random.below(20)))
                    }
                )
            }
        },
        Case("pages of many sessions are read together as one by one") { trial in
            var random = SplitMix64(seed: trial.seed)
            let sessions = (0..<20 as Range<UInt64>).map { $0 + 1 }
            try await trial.commit(sessions.map { StoreTrial.began($0) })
            for number in 0..<40 as Range<UInt64> {
                let shared = StoreTrial.message("shared", "\(number)")
                try await trial.commit(
                    sessions.map { session in
                        let own = StoreTrial.message("t/\(session)", String(repeating: "x", count: random.below(300)))
                        return StoreTrial.queued(number, session, random.below(2) == 0 ? shared : own)
                    }
                )
            }
            try await trial.commit(
                (0..<300).map { _ in
                    .finished(incarnation: UInt64(1 + random.below(20)), number: UInt64(random.below(40)))
                }
            )
            for _ in 0..<2 {
                for (count, bytes) in [(1, Int.max), (7, Int.max), (100, 1), (100, 2_000), (100, Int.max)] {
                    let pages = sessions.map {
                        StoredPage(incarnation: $0, number: UInt64(random.below(45)), count: count, bytes: bytes)
                    }
                    try await trial.checkTogether(pages + [StoredPage(incarnation: 99, number: 0, count: 5, bytes: 5)])
                }
                try await trial.checkTogether([])
                try await trial.reopen()
            }
        },
        Case("messages of one session are read while others are committed") { trial in
            try await trial.commit(
                [StoreTrial.began(1), StoreTrial.began(2)]
                    + (0..<100).map { StoreTrial.queued($0, 1, StoreTrial.message("t", "\($0)")) }
            )
            for number in 0..<40 as Range<UInt64> {
                try await trial.commit([StoreTrial.queued(number, 2, StoreTrial.message())], whileReading: 1)
            }
        },
    ]
}
