{# Traits of which values there are, and how often: `unique_list`, `unique_list_count` and `most_frequent`. All that are of
   one column are made of one grouping by person and value, and of a second one by person. #}
{% macro value_trait_types() %}
    {{ return(['unique_list', 'unique_list_count', 'most_frequent']) }}
{% endmacro %}

{# These traits by what they are values of: the rows (a CTE), the column, the traits, and the different conditions
   under which the traits count a row. #}
{% macro trait_values(traits) %}
    {% set found = {} %}
    {% for trait in traits if trait.type in revetl.value_trait_types() %}
        {% set rows = trait.value.name ~ '_elements' if trait.value.element else 'events' %}
        {% set column = (trait.value.element or trait.value).name %}
        {% set values = found.setdefault(rows ~ '.' ~ column, {
            'name': 'values_' ~ (found | length + 1), 'rows': rows, 'column': column, 'traits': [], 'filters': []}) %}
        {% do values.traits.append(trait) %}
        {% set filter = revetl.trait_filter(trait, rows) %}
        {% if filter not in values.filters %}
            {% do values.filters.append(filter) %}
        {% endif %}
    {% endfor %}
    {{ return(found.values() | list) }}
{% endmacro %}

{# The traits of one such column: CTEs, of which the last, `people_of_NAME`, has the key and a column a trait. #}
{% macro value_traits_query(values, key) %}
    {% set value = values.rows ~ '.' ~ values.column %}
{{ values.name }} as (

    select
        {{ values.rows }}.{{ key }},
        {{ value }} as value
        {%- for filter in values.filters %},
        {{ 'count(*)' if values.filters | length == 1 else 'count(case when ' ~ filter ~ ' then 1 end)' }} as times_{{ loop.index }}
        {%- endfor %}
    from {{ values.rows }}
    where
        {{ value }} is not null
        and (
            {%- for filter in values.filters %}
            {{ 'or ' if not loop.first }}({{ filter }})
            {%- endfor %}
        )
    group by
        {{ values.rows }}.{{ key }},
        {{ value }}

),

people_of_{{ values.name }} as (

    select
        {{ key }}
        {%- for trait in values.traits %},
        {%- set times = 'times_' ~ (values.filters.index(revetl.trait_filter(trait, values.rows)) + 1) %}
        {{ revetl.trait_of_values(trait, times) }} as {{ trait.name }}
        {%- endfor %}
    from {{ values.name }}
    group by {{ key }}

)
{% endmacro %}

{# A trait as an aggregate of different values, of which a column says how many times each is there. #}
{% macro trait_of_values(trait, times) %}
    {% if trait.type == 'unique_list_count' %}
        {{ return('count(case when ' ~ times ~ ' > 0 then 1 end)') }}
    {% elif trait.type == 'unique_list' %}
        {{ return(revetl.unique_list('case when ' ~ times ~ ' > 0 then value end')) }}
    {% endif %}
    {# The least of texts that begin with ten digits, the fewer the more often, and end in the value: of equals the first. #}
    {% set varchar = revetl.type_of('varchar') %}
    {% set place = dbt.concat(['cast(9999999999 - ' ~ times ~ ' as ' ~ varchar ~ ')', 'value']) | trim %}
    {% set least = revetl.min_text('case when ' ~ times ~ ' >= ' ~ trait.minimum ~ ' then ' ~ place ~ ' end') | trim %}
    {{ return(revetl.text_from(least, 11) | trim) }}
{% endmacro %}
