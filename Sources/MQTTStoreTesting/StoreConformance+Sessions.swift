import MQTTPackets
import MQTTStore
import NIOCore

extension StoreConformance {
    static let sessionCases = beginningCases + belongingsCases

    private static let beginningCases: [Case] = [
        Case("a new store is empty") { try await $0.reopen() },
        Case("the record of the broker is the last one") { trial in
            try await trial.commit()
            try await trial.check()
            try await trial.commit()
            try await trial.commit()
        },
        Case("sessions begin, with their clients and expiry intervals") { trial in
            try await trial.commit(StoreTrial.began(1, expiry: 0), StoreTrial.began(2, expiry: 1))
            try await trial.commit(StoreTrial.began(700, "", expiry: .max))
        },
        Case("the expiry interval of a session changes") { trial in
            try await trial.commit(StoreTrial.began(1, expiry: 5), StoreTrial.began(2, expiry: 6))
            try await trial.check()
            try await trial.commit(.sessionExpiryChanged(incarnation: 1, expiryInterval: 0))
        },
        Case("a session that is disconnected is, until it is connected") { trial in
            try await trial.commit((1...4).map { StoreTrial.began($0) })
            try await trial.commit((1...3).map { .sessionDisconnected(incarnation: $0, at: 77 + Int64($0)) })
            try await trial.check()
            try await trial.commit(.sessionConnected(incarnation: 1), .sessionDisconnected(incarnation: 2, at: .max))
        },
        Case("incarnations have 64 bits") { trial in
            try await trial.commit(StoreTrial.began(1 << 32), StoreTrial.began(1 << 32 + 1), StoreTrial.began(1 << 62))
            try await trial.commit(StoreTrial.queued(1 << 40, 1 << 62, StoreTrial.message()))
            try await trial.commit(.sessionEnded(incarnation: 1 << 32))
        },
        Case("a session that ends takes everything with it") { trial in
            try await trial.commit(everything(of: 1) + everything(of: 2))
            try await trial.check()
            try await trial.commit(.sessionEnded(incarnation: 1))
            try await trial.check()
            try await trial.commit(StoreTrial.began(3, "client 1"))
        },
        Case("late changes of a session that has ended are ignored") { trial in
            try await trial.commit(everything(of: 1) + everything(of: 2))
            try await trial.commit([.sessionEnded(incarnation: 1)] + everything(of: 1).dropFirst())
            try await trial.check()
            try await trial.commit(everything(of: 1).dropFirst() + [StoreTrial.began(3, "client 1")])
            try await trial.check()
            try await trial.commit(everything(of: 1).dropFirst() + [.sessionEnded(incarnation: 1)])
        },
        Case("a session begins and ends in one batch") { trial in
            try await trial.commit(everything(of: 1) + [.sessionEnded(incarnation: 1)] + everything(of: 2))
        },
    ]

    private static let belongingsCases: [Case] = [
        Case("a will is kept, replaced and taken away") { trial in
            var properties = Properties()
            properties[integer: .willDelayInterval] = 70_000
            properties[integer: .payloadFormatIndicator] = 1
            properties[integer: .messageExpiryInterval] = 9
            properties[string: .contentType] = "text/plain"
            properties[string: .responseTopic] = "r/é"
            properties[binary: .correlationData] = ByteBuffer(bytes: [0, 255, 1])
            properties.appendUserProperty("name", "value")
            properties.appendUserProperty("name", "")
            let plain = Will(topic: "w", payload: ByteBuffer())
            let full = Will(
                topic: "w/🐝",
                payload: ByteBuffer(bytes: [0, 1, 2, 255]),
                qos: .exactlyOnce,
                isRetained: true,
                properties: properties
            )
            try await trial.commit((1...4).map { StoreTrial.began($0, expiry: 0) })
            try await trial.commit([1, 2, 3].map { .will(plain, incarnation: $0) })
            try await trial.check()
            try await trial.commit(.will(full, incarnation: 1), .will(nil, incarnation: 2))
            try await trial.check()
            try await trial.commit(.will(nil, incarnation: 1), .will(nil, incarnation: 4))
        },
        Case("subscriptions are kept, replaced and taken away") { trial in
            try await trial.commit(StoreTrial.began(1), StoreTrial.began(2))
            let filters = ["a/+/b", "#", "$share/group/a/#", "/"]
            try await trial.commit(filters.map { .subscribed(StoreTrial.subscription($0), incarnation: 1) })
            try await trial.commit(.subscribed(StoreTrial.subscription("#"), incarnation: 2))
            try await trial.check()
            let options = SubscriptionOptions(
                qos: .exactlyOnce,
                noLocal: true,
                retainAsPublished: true,
                retainHandling: .never
            )
            let other = StoredSubscription(filter: "#", options: options, identifier: 268_435_455)
            try await trial.commit(
                .subscribed(other, incarnation: 1),
                .unsubscribed(incarnation: 1, filter: "/"),
                .unsubscribed(incarnation: 1, filter: "is not there")
            )
        },
        Case("packet identifiers are received and released") { trial in
            try await trial.commit(StoreTrial.began(1), StoreTrial.began(2))
            try await trial.commit([1, 2, 65_535].map { .packetReceived(incarnation: 1, packetID: $0) })
            try await trial.commit(.packetReceived(incarnation: 2, packetID: 2))
            try await trial.check()
            try await trial.commit([2, 65_535, 9].map { .packetReleased(incarnation: 1, packetID: $0) })
            try await trial.commit(.packetReceived(incarnation: 1, packetID: 2))
        },
        Case("packet identifiers that are retired stay so") { trial in
            try await trial.commit(StoreTrial.began(1), .retired(incarnation: 1, packetID: 1))
            try await trial.check()
            try await trial.commit([1, 65_535].map { .retired(incarnation: 1, packetID: $0) })
        },
        Case("the send mark is the last one") { trial in
            try await trial.commit(StoreTrial.began(1), .sendMark(incarnation: 1, end: 64))
            try await trial.check()
            try await trial.commit(.sendMark(incarnation: 1, end: 1 << 40))
        },
        Case("replays are kept, replaced and ended, with the topics that were pulled") { trial in
            func replay(_ filter: String, _ through: String, _ sequence: UInt64) -> StoreChange {
                let subscription = StoreTrial.subscription(filter, .exactlyOnce, identifier: 7)
                return .replay(
                    StoredReplay(subscription: subscription, versionMax: 9, through: through, sequence: sequence),
                    incarnation: 1
                )
            }
            try await trial.commit(StoreTrial.began(1), replay("a/#", "", 1), replay("b/#", "b/c", 2))
            try await trial.commit(["a/1", "a/2"].map { .replayPulled(incarnation: 1, topic: $0, sequence: 2) })
            try await trial.check()
            try await trial.commit(replay("a/#", "a/7", 1), .replayEnded(incarnation: 1, filter: "b/#"))
            try await trial.commit(.replayEnded(incarnation: 1, filter: "is not there"))
            try await trial.check()
            try await trial.commit(["a/2", "", "a/3"].map { .replayPulled(incarnation: 1, topic: $0, sequence: 3) })
            try await trial.check()
            try await trial.commit(.replayPulled(incarnation: 1, topic: "a/3", sequence: 4))
            try await trial.check()
            try await trial.commit(
                .replayEnded(incarnation: 1, filter: "a/#"),
                .replayPulled(incarnation: 1, topic: "", sequence: 4)
            )
        },
    ]

    /// A change of each kind that a session can have.
    static func everything(of incarnation: UInt64) -> [StoreChange] {
        let subscription = StoreTrial.subscription("filter/#", identifier: 8)
        let message = StoreTrial.message()
        return [
            StoreTrial.began(incarnation),
            .sessionExpiryChanged(incarnation: incarnation, expiryInterval: 60),
            .sessionDisconnected(incarnation: incarnation, at: 5),
            .will(Will(topic: "w", payload: ByteBuffer(string: "gone")), incarnation: incarnation),
            .subscribed(subscription, incarnation: incarnation),
            StoreTrial.queued(0, incarnation, message),
            StoreTrial.queued(1, incarnation, message),
            .sendMark(incarnation: incarnation, end: 2),
            .received(incarnation: incarnation, number: 0),
            .finished(incarnation: incarnation, number: 1),
            .retired(incarnation: incarnation, packetID: 10),
            .packetReceived(incarnation: incarnation, packetID: 11),
            .replay(
                StoredReplay(subscription: subscription, versionMax: 3, through: "", sequence: 1),
                incarnation: incarnation
            ),
            .replayPulled(incarnation: incarnation, topic: "filter/x", sequence: 1),
        ]
    }
}
