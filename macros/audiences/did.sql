{# Conditions of a row with a `canonical_id` (or whatever column `person` names), by what its person did. Each is one
   set of people, made of the events it names within the time it names, that the rows are held against. #}

{# Who has done an event (one of some events) at least so often, and at most so often, within some time.
   `within` is '90 days' or a window as traits have it: {'this': 'month'}, {'from': '2026-01-01', 'to': '2026-02-01'}.
   `where` is a condition, or a list of them, as traits have it, or a text: "properties.total > 100". #}
{% macro did(event=none, at_least=1, at_most=none, within=none, where=none, source='track', person='canonical_id') -%}
    exists ({{ revetl.people_who_did(event, at_least, at_most, within, where, source, person) }})
{%- endmacro %}

{# Who has not: the others. #}
{% macro did_not(event=none, at_least=1, at_most=none, within=none, where=none, source='track', person='canonical_id') -%}
    not exists ({{ revetl.people_who_did(event, at_least, at_most, within, where, source, person) }})
{%- endmacro %}

{% macro people_who_did(event, at_least, at_most, within, where, source, person) -%}
    {% do revetl.check_times('at_least', at_least) -%}
    {% if at_most is not none -%}
        {% do revetl.check_times('at_most', at_most, at_least) -%}
    {% endif -%}
    {% set done = revetl.done_step('did', event, where) -%}
        select {{ revetl.as_asked('did', {'event': event, 'at_least': at_least if at_least > 1 else none, 'at_most': at_most,
            'within': within, 'where': where, 'source': source if source != 'track' else none}) }} 1
        from (
            select done.canonical_id as doer
            from (
                {{ revetl.done_events([done], within, source) }}
            ) as done
            where done.step_1 = 1
            group by done.canonical_id
            {%- if at_least > 1 or at_most is not none %}
            having
                count(*) >= {{ at_least }}
                {%- if at_most is not none %}
                and count(*) <= {{ at_most }}
                {%- endif %}
            {%- endif %}
        ) as did
        where did.doer = {{ person }}
    {%- endmacro %}

{# Who has done some steps in their order, the whole within some time of the first. A step is an event, any of
   a list of them, or {'event': ..., 'where': ...}. Of the ways to have come to a step, the one that began last is kept, as it has most
   time left. `window`, as traits have it, is the time that all of them are in. #}
{% macro did_in_order(steps, within=none, window=none, source='track', person='canonical_id') -%}
    {% if steps is string or steps is not iterable or steps | length < 2 -%}
        {% do revetl.wrong_trait('did_in_order: steps', "is '" ~ steps ~ "'; it must be a list of two events or more") -%}
    {% endif -%}
    {% set hours = revetl.trait_hours('did_in_order: within', within) if within is not none else none -%}
    {% set done = [] -%}
    {% for step in steps -%}
        {% set given = step if step is mapping else {'event': step} -%}
        {% if given | reject('in', ['event', 'where']) | list or not given.event -%}
            {% do revetl.wrong_trait('did_in_order: steps.' ~ loop.index0, "is '" ~ step
                ~ "'; write an event's name, or {'event': ..., 'where': ...}") -%}
        {% endif -%}
        {% do done.append(revetl.done_step('did_in_order: steps.' ~ loop.index0, given.event, given.where)) -%}
    {% endfor -%}
    {% set ordered = 'partition by canonical_id order by timestamp, message_id rows between unbounded preceding and 1 preceding' -%}
    {% set reached = namespace(sql=revetl.done_events(done, window, source)) -%}
    {% for step in done -%}
        {% set began = 'reached.timestamp' if loop.first else 'reached.began_before' -%}
        {% set in_time = ' and ' ~ began ~ ' >= ' ~ revetl.hours_before('reached.timestamp', hours)
            if hours and not loop.first else '' -%}
        {% set reached.sql = revetl.reached_step(loop.index, done | length, reached.sql, began, in_time, ordered) -%}
    {% endfor -%}
    exists (
        select {{ revetl.as_asked('did_in_order', {'steps': steps, 'within': within, 'window': window,
            'source': source if source != 'track' else none}) }} 1
        from (
            select canonical_id as doer
            from ({{ reached.sql }}) as reached
            where began_{{ done | length }} is not null
            group by canonical_id
        ) as did
        where did.doer = {{ person }}
    )
{%- endmacro %}

{# The events with when the way to a step began that ends in each, null where none does. #}
{% macro reached_step(number, count, query, began, in_time, ordered) %}
    {% set before = 'select earlier.*, max(began_' ~ (number - 1) ~ ') over (' ~ ordered ~ ') as began_before from ('
        ~ query ~ ') as earlier' %}
    {% set rows = query if number == 1 else before %}
    {% set columns = ['reached.canonical_id', 'reached.message_id', 'reached.timestamp'] %}
    {% for later in range(number + 1, count + 1) %}
        {% do columns.append('reached.step_' ~ later) %}
    {% endfor %}
    {{ return('select ' ~ columns | join(', ') ~ ', case when reached.step_' ~ number ~ ' = 1' ~ in_time ~ ' then '
        ~ began ~ ' end as began_' ~ number ~ ' from (' ~ rows ~ ') as reached') }}
{% endmacro %}

{# Who is in another audience, known in both by the column `on`. #}
{% macro in_audience(name, on='canonical_id', person=none) -%}
    exists (
        select {{ revetl.as_asked('in_audience', {'name': name}) }} 1
        from (
            select {{ on }} as member
            from {{ ref(name) }}
        ) as audience
        where audience.member = {{ person or on }}
    )
{%- endmacro %}

{# A condition as it was asked for, as a comment by which `revetl why` calls it. #}
{% macro as_asked(name, given) %}
    {% set parts = [] %}
    {% for key, value in given.items() if value is not none %}
        {% set word = value if value is string else tojson(value) %}
        {% do parts.append(word if loop.first else key ~ ' ' ~ word) %}
    {% endfor %}
    {# Nothing in it ends the comment, or looks like the end of a statement or the beginning of a text. #}
    {{ return('/* ' ~ name ~ '(' ~ parts | join(', ') | replace('*/', '* /') | replace(';', ',') | replace("'", '"') ~ ') */') }}
{% endmacro %}

{% macro check_times(name, given, least=0) %}
    {% if given is not number or given is boolean or given | int != given or given < least or given < (0 if name == 'at_most' else 1) %}
        {% do revetl.wrong_trait('did: ' ~ name, "is '" ~ given ~ "'; it must be a whole number of "
            ~ ([least, 1] | max) ~ ' or more') %}
    {% endif %}
{% endmacro %}
