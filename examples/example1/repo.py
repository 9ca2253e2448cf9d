from coflux import task, workflow

@task()
def build_greeting(name):
    return f"Hello, {name}!"

@workflow()
def my_workflow(name):
    print(build_greeting(name))
