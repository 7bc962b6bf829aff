#include "sampling_pool.h"

SamplingPool::SamplingPool(int32_t threads) {
    for (int32_t i = 1; i < threads; i++) helpers_.emplace_back([this] { help(); });
}

SamplingPool::~SamplingPool() {
    {
        const std::lock_guard lock(mutex_);
        stopping_ = true;
    }
    wake_.notify_all();
    for (auto & helper : helpers_) helper.join();
}

void SamplingPool::run(int32_t count, const std::function<void(int32_t)> & task) {
    {
        const std::lock_guard lock(mutex_);
        task_ = &task;
        count_ = count;
        next_ = 0;
        working_ = helpers_.size();
        round_++;
    }
    wake_.notify_all();
    takeTasks(count, task);
    std::unique_lock lock(mutex_);
    done_.wait(lock, [this] { return working_ == 0; });
}

void SamplingPool::help() {
    size_t seen = 0;
    std::unique_lock lock(mutex_);
    for (;;) {
        wake_.wait(lock, [&] { return stopping_ || round_ != seen; });
        if (stopping_) return;
        seen = round_;
        const auto count = count_;
        const auto & task = *task_;
        lock.unlock();
        takeTasks(count, task);
        lock.lock();
        if (--working_ == 0) done_.notify_one();
    }
}

void SamplingPool::takeTasks(int32_t count, const std::function<void(int32_t)> & task) {
    for (int32_t i = next_++; i < count; i = next_++) task(i);
}
