import DequeModule
import MQTTPackets
import MQTTSessions
import NIOCore

extension ClientDriver {
    /// How often messages are looked at that may have waited too long.
    private static let agingInterval = TimeAmount.seconds(1)

    /// A message from the outbox.
    func publish(_ publication: Publication) {
        guard !isEnding else { return finish(publication, .failure(.closed)) }
        let publish = publication.publish
        if isConnected, let refusal = refusal(publish) {
            return finish(publication, .failure(.publishRefused(refusal)))
        }
        if publish.qos == .atMostOnce {
            guard !isConnected else {
                _ = session.publish(publish)
                return finish(publication, .success(.success))
            }
            guard configuration.queue.keepsAtMostOnce else { return finish(publication, .failure(.notConnected)) }
            offline.append(Offline(publication: publication, enqueuedAt: now, before: session.outbound.end))
            offlineBytes += publication.bytesHeld
        } else if let number = session.publish(publish) {
            pending.append(
                .init(
                    id: publication.id,
                    waiter: publication.waiter,
                    awaitsStore: publication.awaitsStore,
                    enqueuedAt: session.now
                ),
                number: number
            )
            if publication.awaitsStore {
                storing?.unstored.append((session.lastTicket, number))
            } else if publication.waiter != nil {
                awaitedPublishes += 1
            }
        }
        if configuration.queue.policy == .dropOldest { dropExcess() }
        if !isConnected { scheduleAging() }
    }

    /// Why the server will not take a message; nil where it will. Only QoS 0 is sent with an alias.
    private func refusal(_ publish: Publish) -> ReasonCode? {
        session.limits.refusal(publish, version: version, alias: publish.qos == .atMostOnce ? atMostOnceAlias : 0)
    }

    /// Not 0 where a message of QoS 0 may be sent with an alias beside its topic.
    var atMostOnceAlias: UInt16 { configuration.automaticTopicAliasesMax > 0 ? 1 : 0 }

    /// Nothing more happens to the message.
    func finish(_ publication: Publication, _ result: Result<ReasonCode, MQTTError>) {
        if let waiter = publication.waiter { return waiter.resume(returning: result) }
        tell(publication.id, result)
    }

    /// Nothing more happens to a message of QoS 1 or 2.
    func finish(_ number: UInt64, _ result: Result<ReasonCode, MQTTError>) {
        if suspect?.number == number { acquit() }
        guard let message = pending.remove(number) else { return }
        guard let waiter = message.waiter else { return tell(message.id, result) }
        if !message.awaitsStore {
            awaitedPublishes -= 1
        } else if case .success = result {
            tell(message.id, result)
        }
        waiter.resume(returning: result)
    }

    func tell(_ id: PublishID, _ result: Result<ReasonCode, MQTTError>) {
        // QoS 0 that `publish` was given has no name: its task has gone on.
        guard id != .none, status.hasListeners else { return }
        switch result {
        case .success: status.emit(.published(id))
        case .failure(let error): status.emit(.publishFailed(id, error))
        }
    }

    /// The server has answered.
    func published(_ number: UInt64, _ reasonCode: ReasonCode) {
        finish(number, reasonCode.isError ? .failure(.publishRefused(reasonCode)) : .success(reasonCode))
    }

    func settleEnded() {
        let ended = session.ended
        session.ended = []
        for message in ended {
            switch message.outcome {
            case .received: finish(message.number, .success(.success))
            case .refused(let reasonCode): finish(message.number, .failure(.publishRefused(reasonCode)))
            case .expired: finish(message.number, .failure(.expired))
            }
        }
    }

    /// What the outbox has, whether or not the channel takes bytes.
    func takePublications() {
        guard isReady else { return }
        queuedTold = nil
        for publication in outbox.takePublications() { publish(publication) }
    }

    // MARK: The queue

    /// What waited for the connection.
    func sendOffline() {
        let waiting = offline
        offline = []
        offlineBytes = 0
        for message in waiting { publish(message.publication) }
    }

    private func dropExcess() {
        let limits = configuration.queue
        // A single one waits whatever its size.
        while queuedMessages > 1, queuedMessages > limits.messagesMax || queuedBytes > limits.bytesMax {
            if let oldest = offline.first, oldest.before <= session.outbound.oldestUnsentNumber ?? .max {
                offline.removeFirst()
                offlineBytes -= oldest.publication.bytesHeld
                finish(oldest.publication, .failure(.dropped))
            } else if let oldest = session.dropOldest() {
                finish(oldest, .failure(.dropped))
            } else {
                return  // The rest was sent on an earlier connection.
            }
        }
    }

    func scheduleAging() {
        guard configuration.queue.ageMax != nil, ageTimer == nil, !isConnected, queuedMessages > 0 else {
            return
        }
        ageTimer = schedule(in: Self.agingInterval) { driver in
            driver.ageTimer = nil
            driver.turn { driver.dropAged() }
            driver.scheduleAging()
        }
    }

    /// Messages that have waited too long for a connection.
    func dropAged() {
        guard let ageMax = configuration.queue.ageMax, !isConnected else { return }
        let oldest = now - Int64(ageMax / .milliseconds(1))
        while let first = offline.first, first.enqueuedAt <= oldest {
            offline.removeFirst()
            offlineBytes -= first.publication.bytesHeld
            finish(first.publication, .failure(.expired))
        }
        for number in session.outbound.numbers(where: { $0.state == .queued }) {
            // They stand in the order of their age.
            guard let message = pending[number], message.enqueuedAt <= oldest else { return }
            if session.removeUnsent(number) { finish(number, .failure(.expired)) }
        }
    }

    /// Takes a message back where it was not sent; where it was, only who waits for it is told.
    func cancel(_ id: PublishID, because error: MQTTError) {
        if let at = offline.firstIndex(where: { $0.publication.id == id }) {
            let publication = offline.remove(at: at).publication
            offlineBytes -= publication.bytesHeld
            return finish(publication, .failure(error))
        }
        guard let number = pending.number(of: id) else { return }
        if session.removeUnsent(number) { return finish(number, .failure(error)) }
        guard let (waiter, awaitedStore) = pending.removeWaiter(number) else { return }
        if !awaitedStore { awaitedPublishes -= 1 }
        waiter.resume(returning: .failure(error))
    }

    // MARK: Messages that servers break on

    /// A message that connections have broken on.
    struct Suspect {
        let number: UInt64
        /// While nothing else was in flight.
        var breaks = 0
    }

    /// The oldest message, where it was sent on the connection that has just broken, and has no answer.
    func messageBroken(by error: MQTTError) -> UInt64? {
        switch error {
        case .connectionLost, .disconnected: break
        default: return nil
        }
        guard configuration.queue.attemptsMax != nil, session.outbound.inFlight > 0 else { return nil }
        let oldest = session.outbound.first
        return session.outbound.isUnfinished(oldest) && session.outbound.head(oldest).state == .sent ? oldest : nil
    }

    /// From now on it is sent alone, so that it is found out; after so many breaks it is given up.
    func brokeOn(_ number: UInt64) {
        guard var suspect, suspect.number == number else {
            suspect = Suspect(number: number)
            session.inFlightMax = 1
            return
        }
        suspect.breaks += 1
        self.suspect = suspect
        guard let attemptsMax = configuration.queue.attemptsMax, suspect.breaks >= attemptsMax else { return }
        logger.warning(
            "a message was given up: the connection breaks each time when it is sent",
            metadata: ["attempts": "\(attemptsMax)"]
        )
        session.abandon(number)
        finish(number, .failure(.attemptsExhausted))
    }

    private func acquit() {
        suspect = nil
        session.inFlightMax = 65_535
        session.pump()
    }

    // MARK: Flushing

    func flush(_ id: UInt64, _ waiter: CheckedContinuation<Result<Void, MQTTError>, Never>) {
        guard !isEnding else { return waiter.resume(returning: .failure(.closed)) }
        flushes.append(Flush(id: id, place: outbox.lastPlace, waiter: waiter))
    }

    func cancelFlush(_ id: UInt64) {
        guard let at = flushes.firstIndex(where: { $0.id == id }) else { return }
        flushes.remove(at: at).waiter.resume(returning: .failure(.cancelled))
    }

    func settleFlushes() {
        for at in flushes.indices where flushes[at].number == nil && isReady {
            if outbox.isTaken(through: flushes[at].place) { flushes[at].number = session.outbound.end }
        }
        while let flush = flushes.first, session.outbound.first >= flush.number ?? .max,
            offline.first.map({ $0.publication.place > flush.place }) ?? true
        {
            flushes.removeFirst()
            flush.waiter.resume(returning: .success(()))
        }
    }
}

extension PublishID {
    static let none = PublishID(value: 0)
}
