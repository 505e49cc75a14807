{# What a row of a model is, in one statement: no two rows have the same values in `key` (nulls are equal), none of the
   columns `unique` has a value twice, and none of the columns `not_null` is null. One row a fault: what is wrong, and in
   how many rows. #}
{% test grain(model, key=[], unique=[], not_null=[]) %}
{% if execute and revetl.overridable().get(model.identifier) and revetl.override_of(model.identifier) %}
    {# A project's own model may do without the others. #}
    {% set not_null = not_null | select('in', revetl.overridable()[model.identifier].required) | list %}
{% endif %}
{% set faults = [] %}
{% set columns = ['count(*) as times'] %}
{% set sums = ['sum(case when times > 1 then times else 0 end) as repeated'] if key else [] %}
{% if key %}
    {% do faults.append("select '" ~ revetl.unquoted(key | join(', ')) ~ ": repeated' as fault, repeated as row_count"
        ~ ' from counted where repeated > 0') %}
{% endif %}
{% for column in not_null %}
    {% do columns.append('count(' ~ column ~ ') as known_' ~ loop.index) %}
    {% do sums.append('sum(times - known_' ~ loop.index ~ ') as nulls_' ~ loop.index) %}
    {% do faults.append("select '" ~ revetl.unquoted(column) ~ ": null' as fault, nulls_" ~ loop.index
        ~ ' as row_count from counted where nulls_' ~ loop.index ~ ' > 0') %}
{% endfor %}
{% for column in unique %}
    {% do faults.append(revetl.repeated_values(model, [column], column ~ ' is not null')) %}
{% endfor %}
{% if sums %}
{# In one reading: a model may be a view that takes as long as a table to make. #}
with grouped as (

    select {{ columns | join(', ') }} from {{ model }}
    {{ 'group by ' ~ key | join(', ') if key }}

),

counted as (

    select {{ sums | join(', ') }} from grouped

)

{% endif %}
{{ faults | join(' union all\n') }}
{% endtest %}

{# A select of one row where rows have the same values in the columns, of none otherwise. #}
{% macro repeated_values(model, columns, condition=none) %}
    {{ return("select '" ~ revetl.unquoted(columns | join(', ')) ~ ": repeated' as fault, sum(times) as row_count from ("
        ~ 'select count(*) as times from ' ~ model ~ (' where ' ~ condition if condition else '')
        ~ ' group by ' ~ columns | join(', ') ~ ' having count(*) > 1) as repeated having count(*) > 0') }}
{% endmacro %}

{% macro unquoted(names) %}
    {{ return(names | replace('"', '') | replace('`', '')) }}
{% endmacro %}
