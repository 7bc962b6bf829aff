// Threads that share the sampling of one step. Between steps they sleep.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

class SamplingPool {
  public:
    // `threads` counts the caller of run().
    explicit SamplingPool(int32_t threads);
    ~SamplingPool();
    SamplingPool(const SamplingPool &) = delete;
    SamplingPool & operator=(const SamplingPool &) = delete;

    int32_t threads() const { return static_cast<int32_t>(helpers_.size()) + 1; }
    // Calls task(i) once for every i in [0, count), on this thread and the others, and returns when all are done. No task may throw.
    void run(int32_t count, const std::function<void(int32_t)> & task);

  private:
    void help();
    void takeTasks(int32_t count, const std::function<void(int32_t)> & task);

    std::vector<std::thread> helpers_;
    std::mutex mutex_;
    std::condition_variable wake_;
    std::condition_variable done_;
    const std::function<void(int32_t)> * task_ = nullptr;
    int32_t count_ = 0;
    std::atomic<int32_t> next_{ 0 };
    size_t round_ = 0;    // counts calls of run()
    size_t working_ = 0;  // helpers that have not finished this round
    bool stopping_ = false;
};
