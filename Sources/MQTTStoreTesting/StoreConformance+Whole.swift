import MQTTPackets
import MQTTStore
import NIOCore

extension StoreConformance {
    static let retainedCases: [Case] = [
        Case("retained messages are kept, replaced and cleared") { trial in
            func retained(_ topic: String, _ payload: String, _ version: UInt64) -> StoreChange {
                .retained(StoredRetained(StoreTrial.message(topic, payload), version: version))
            }
            try await trial.commit(retained("a", "1", 1), retained("b", "2", 2), retained("c/d", "3", 3))
            try await trial.check()
            try await trial.commit(retained("a", "4", 4), retained("a", "5", 5), .retainedCleared(topic: "b"))
            try await trial.check()
            try await trial.commit(.retainedCleared(topic: "a"), retained("a", "6", 6), .retainedCleared(topic: "?"))
            try await trial.check()
            try await trial.commit(retained("e", "7", 7), .retainedCleared(topic: "e"))
        },
        Case("retained messages keep all that belongs to them") { trial in
            try await trial.commit(
                oddMessages().enumerated().map { .retained(StoredRetained($0.element, version: UInt64($0.offset))) }
            )
        },
        Case("a message is retained and queued, and each ends by itself") { trial in
            let messages = ["a", "b", "c"].map { StoreTrial.message($0) }
            try await trial.commit([StoreTrial.began(1), StoreTrial.began(2)])
            for (number, message) in messages.enumerated() {
                try await trial.commit(
                    StoreTrial.queued(UInt64(number), 1, message),
                    .retained(StoredRetained(message, version: UInt64(number + 1))),
                    StoreTrial.queued(UInt64(number), 2, message)
                )
            }
            try await trial.commit(.retainedCleared(topic: "a"), .finished(incarnation: 1, number: 1))
            try await trial.check()
            try await trial.commit(
                (0..<3).map { .finished(incarnation: 1, number: $0) } + [.sessionEnded(incarnation: 2)]
            )
        },
        Case("names are told apart by their bytes: canonically equivalent ones are not the same") { trial in
            let names = ["é", "e\u{301}", "Ω", "\u{2126}"]
            try await trial.commit(names.enumerated().map { StoreTrial.began(UInt64($0.offset + 1), $0.element) })
            for (index, name) in names.enumerated() {
                let subscription = StoreTrial.subscription(name)
                let replay = StoredReplay(
                    subscription: subscription,
                    versionMax: 1,
                    through: name,
                    sequence: UInt64(index)
                )
                try await trial.commit(
                    .retained(StoredRetained(StoreTrial.message(name, "\(index)"), version: UInt64(index + 1))),
                    .subscribed(subscription, incarnation: 1),
                    .replay(replay, incarnation: 1)
                )
            }
            try await trial.check()
            try await trial.commit(
                .retainedCleared(topic: "e\u{301}"),
                .unsubscribed(incarnation: 1, filter: "é"),
                .replayEnded(incarnation: 1, filter: "\u{2126}")
            )
        },
    ]

    static let wholeCases: [Case] = [
        Case("the last change of a batch wins") { trial in
            try await trial.commit([
                StoreTrial.began(1), .subscribed(StoreTrial.subscription("a"), incarnation: 1),
                .unsubscribed(incarnation: 1, filter: "a"), .packetReceived(incarnation: 1, packetID: 1),
                .packetReleased(incarnation: 1, packetID: 1), .packetReceived(incarnation: 1, packetID: 1),
                .retainedCleared(topic: "t"), .retained(StoredRetained(StoreTrial.message("t"), version: 1)),
                .sessionDisconnected(incarnation: 1, at: 1), .sessionConnected(incarnation: 1),
                .unsubscribed(incarnation: 1, filter: "b"), .subscribed(StoreTrial.subscription("b"), incarnation: 1),
            ])
        },
        Case("a batch that is committed twice is as one that is committed once") { trial in
            try await trial.commit(everything(of: 1) + everything(of: 2))
            try await trial.commitAgain()
            try await trial.check()
            try await trial.commit([.sessionEnded(incarnation: 1)] + everything(of: 3))
            try await trial.commitAgain()
            try await trial.reopen()
            try await trial.commitAgain()
            try await trial.check()
            let message = StoreTrial.message()
            try await trial.commit(
                StoreTrial.queued(8, 2, message),
                StoreTrial.queued(9, 2, message),
                .finished(incarnation: 2, number: 8),
                .received(incarnation: 2, number: 9),
                .retained(StoredRetained(message, version: 1))
            )
            try await trial.commitAgain()
        },
        Case("a batch of ten thousand changes is one batch") { trial in
            let message = StoreTrial.message()
            try await trial.commit(
                [StoreTrial.began(1)]
                    + (0..<5_000 as Range<UInt64>).flatMap {
                        [StoreTrial.queued($0, 1, $0 % 7 == 0 ? StoreTrial.message() : message)]
                            + ($0 % 2 == 0 ? [] : [.finished(incarnation: 1, number: $0 - 1)])
                    }
            )
        },
        Case("what a store is opened for is there every time") { trial in
            for incarnation in 1...6 as ClosedRange<UInt64> {
                try await trial.commit(everything(of: incarnation))
                try await trial.reopen()
                try await trial.reopen()
            }
        },
        Case("random changes, some committed twice, with the store closed and opened in between") { trial in
            try await runCampaign(&trial, batches: 400)
        },
    ]

    private static func runCampaign(_ trial: inout StoreTrial, batches: Int) async throws {
        var generator = ChangeGenerator(seed: trial.seed)
        var random = SplitMix64(seed: ~trial.seed)
        for _ in 0..<batches {
            try await trial.commitAsIs(generator.batch())
            if random.oneIn(12) { try await trial.commitAgain() }
            switch random.below(30) {
            case 0: try await trial.check()
            case 1: try await trial.reopen()
            case 2, 3: try await trial.checkMessages()
            default: break
            }
        }
    }
}
